"""Implementations are asked in processes that end when whoever asks is interrupted."""

import os
import signal
import sys
import time
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest

from suite.atlas import processes

HANG_S = 30


def test_an_interrupt_ends_all_at_once_and_starts_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun, over, interrupted = tmp_path / "begun", Event(), list[float]()
    begun.touch()
    hang = f"open({str(begun)!r}, 'a').write('.'); import time; time.sleep({HANG_S})"
    monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-c", hang))
    monkeypatch.setattr(processes, "LIMIT_S", 2.0 * HANG_S)

    def interrupt_when_both_have_begun() -> None:
        while not over.wait(0.01):
            if begun.read_text() == "..":
                interrupted.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGTERM)
                return

    # The command line makes an interrupt of SIGTERM too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    waiting = Thread(target=interrupt_when_both_have_begun)
    waiting.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(processes.ask_all([("eager", "raced")] * 3, 2, lambda _: None))
    finally:
        over.set()
        waiting.join()
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - interrupted[0] < HANG_S / 2
    assert begun.read_text() == ".."
    assert not any("time.sleep" in " ".join(each.cmdline()) for each in psutil.Process().children())
