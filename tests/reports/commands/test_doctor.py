"""`doctor` on this machine, with something wrong on purpose."""

import sys

import pytest

from suite.conditions import health
from suite.probe import worker
from tests.fakes.console import Exit, bench
from tests.fakes.gpus import gpus, with_cuda
from variants.catalog import CATALOG
from variants.host.hardware import this_cpu

WORKER = """
import json, sys
print('["measured", ""]', flush=True)
for name, mode in json.loads(sys.argv[3]): print(json.dumps([STATUS, "a reason"]), flush=True)
"""


def doctor(monkeypatch: pytest.MonkeyPatch, status: str, *words: str) -> Exit:
    """Run the doctor with a worker that says the same of every variant."""
    source = WORKER.replace("STATUS", repr(status))
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-S", "-c", source))
    monkeypatch.setattr(health, "WATCH_S", 0.01)
    return bench("doctor", "--device", "cpu", *words)


def test_the_doctor_names_the_machine_the_variants_and_the_troubles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    done = doctor(monkeypatch, "measured")
    assert done.returncode == 0, done.stderr
    assert this_cpu().key in done.stdout
    assert all(variant.name in done.stdout for variant in CATALOG)
    assert "apt-get install g++" in done.stdout
    assert "OMP_NUM_THREADS=7" in done.stdout
    assert "-> unset OMP_NUM_THREADS" in done.stdout
    report = " ".join(done.stdout.split())
    assert "native_window, flex_window, triton_window, auto skipped: waits for a compiler" in report
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_doctor_shows_its_progress_apart_from_its_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = doctor(monkeypatch, "measured", "--deep")
    assert done.stderr.splitlines()[:2] == [
        f"starting torch, to try {len(CATALOG)} of {len(CATALOG)} variants",
        f"1 of {2 * len(CATALOG)}: eager forward",
    ]
    assert "starting torch" not in done.stdout
    assert "skipped" not in done.stdout


def test_where_no_alibi_variant_runs_the_doctor_exits_with_3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = doctor(monkeypatch, "unsupported")
    assert done.returncode == 3
    assert "unsupported: a reason" in " ".join(done.stdout.split())
    assert done.stderr.splitlines()[-1].startswith("Error: no ALiBi variant was seen to run here")


def test_a_worker_that_can_t_start_is_one_line_and_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", "import nowhere"))
    done = bench("doctor", "--device", "cpu")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("Error: a process that tries variants can't")


def test_an_old_gpu_is_told_that_it_is_measured_in_float16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_cuda(monkeypatch, gpus("7.5"))
    done = doctor(monkeypatch, "measured", "--device", "cuda")
    assert done.returncode == 0, done.stderr
    assert "compute capability 7.5) only emulates bfloat16, so sweeps and models" in done.stdout


@pytest.mark.heavy
def test_a_real_worker_tries_real_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.probe.probe.QUICK_S", 240.0)
    done = bench("doctor", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["eager", "runs", "runs"] in lines
    assert ["sdpa_mask", "runs", "runs"] in lines
