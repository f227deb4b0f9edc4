"""The time that threads waited for a core is the kernel's own count."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite.clocks.core_times import core_times, runnable_threads


def test_the_second_figure_of_every_thread_is_summed(tmp_path: Path) -> None:
    for thread, text in {"7": "100 20 3", "8": "5 4 1", "9": "nothing like it", "10": ""}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(text)
    (tmp_path / "11").mkdir()
    assert core_times(tmp_path) == (105, 24)


def test_a_kernel_that_keeps_none_has_nothing_waited(tmp_path: Path) -> None:
    assert core_times(tmp_path / "none") == (0, 0)


@pytest.mark.skipif(core_times().wait_ns == 0, reason="this kernel keeps no schedstat")
def test_a_thread_that_shares_its_core_is_seen_to_wait() -> None:
    core = min(os.sched_getaffinity(0))
    busy = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    rivals = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(2)]
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {core})
        before_ns = core_times().wait_ns
        deadline = time.monotonic() + 60
        while core_times().wait_ns - before_ns < 5_000_000:
            assert time.monotonic() < deadline, "it never waited"
    finally:
        os.sched_setaffinity(0, before)
        for rival in rivals:
            rival.kill()
            rival.wait()


def test_threads_that_run_or_wait_for_a_core_are_counted(tmp_path: Path) -> None:
    for thread, state in {"7": "R", "8": "S", "9": "R"}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "stat").write_text(f"{thread} (a name (odd)) {state} 1 2")
    assert runnable_threads(tmp_path) == 2
    assert runnable_threads(tmp_path / "none") == 0
