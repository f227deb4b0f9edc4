"""The probe's parent: what it makes of a worker that answers, dies, dawdles or can't start."""

import sys
from pathlib import Path

import pytest

from suite.conditions.device import device_for
from suite.conditions.policy import policy
from suite.failures import RunFailed
from suite.probe import probe as probing
from suite.probe import worker
from suite.probe.probe import MODES, ProbeResult, probe
from tests.fakes.gpus import gpus, with_cuda
from variants.catalog import BY_NAME, CATALOG

HEAD = """
import json, os, signal, sys, time
def write(*outcome): print(json.dumps(outcome), flush=True)
cells = json.loads(sys.argv[3])
"""
READY = 'write("measured", "")\n'
ANSWER = 'for name, mode in cells: write("measured", name + " " + mode)\n'
NAMES = ("eager", "sdpa_mask", "flex")
VARIANTS = [BY_NAME[name] for name in NAMES]
TRIED = [(name, mode) for mode in MODES for name in ("eager", "sdpa_mask")]


def run_probe(
    monkeypatch: pytest.MonkeyPatch, source: str, *, deep: bool = False, device: str = "cpu"
) -> tuple[dict[tuple[str, str], ProbeResult], list[str]]:
    """Return what became of each cell where a worker runs this source, and what was reported."""
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-S", "-c", HEAD + source))
    reported: list[str] = []
    results = probe(
        VARIANTS, policy("cpu", 2), device_for(device), deep=deep, report=reported.append
    )
    assert [(each.variant, each.mode) for each in results] == [
        (name, mode) for mode in MODES for name in NAMES
    ]
    return {(each.variant, each.mode): each for each in results}, reported


def test_each_cell_has_its_outcome_and_is_reported_before_it_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results, reported = run_probe(monkeypatch, READY + ANSWER)
    for cell in TRIED:
        assert results[cell][2:] == ("measured", " ".join(cell))
    assert reported == [
        "starting torch, to try 2 of 3 variants",
        "1 of 4: eager forward",
        "2 of 4: sdpa_mask forward",
        "3 of 4: eager backward",
        "4 of 4: sdpa_mask backward",
    ]


def test_what_waits_for_a_compiler_is_tried_by_a_deep_look_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = run_probe(monkeypatch, READY + ANSWER)[0]["flex", "forward"]
    assert (quick.status, quick.reason) == (
        "skipped",
        "waits for a compiler; doctor --deep tries it",
    )
    deep = run_probe(monkeypatch, READY + ANSWER, deep=True)[0]["flex", "forward"]
    assert deep.status == "measured"


def test_a_quick_look_tries_nothing_that_compiles() -> None:
    compiling = {variant.name for variant in CATALOG if variant.compiles != "never"}
    assert compiling >= {"native_window", "auto", "compile_dynamic"}
    assert compiling >= {variant.name for variant in CATALOG if variant.builds}
    assert compiling.isdisjoint({"eager", "sdpa_mask", "sdpa_key", "sdpa_folded", "sdpa_window"})


@pytest.mark.parametrize(
    ("death", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ('sys.exit("out of luck")', "exited with 1; it last said: out of luck"),
        ("sys.exit(0)", "exited with 0"),
    ],
)
def test_a_worker_that_dies_costs_the_cell_that_it_tried_and_no_other(
    monkeypatch: pytest.MonkeyPatch, death: str, words: str
) -> None:
    dying = f"    if [name, mode] == ['sdpa_mask', 'forward']: {death}\n"
    source = f"{READY}for name, mode in cells:\n{dying}    write('measured', '')\n"
    results, reported = run_probe(monkeypatch, source)
    assert results["sdpa_mask", "forward"][2:] == ("crashed", words)
    others = [results[cell].status for cell in TRIED if cell != ("sdpa_mask", "forward")]
    assert others == ["measured"] * 3
    assert len(reported) == 5


def test_a_worker_that_is_spoilt_makes_way_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    results = run_probe(monkeypatch, READY + "write('failed', f'{os.getpid()}')\n")[0]
    assert {results[cell].status for cell in TRIED} == {"failed"}
    assert len({results[cell].reason for cell in TRIED}) == 4


def give_time(monkeypatch: pytest.MonkeyPatch, *left_s: float) -> None:
    """Let so many seconds be left at the start of each worker and before each cell."""
    left = iter(left_s)
    monkeypatch.setattr(probing, "_left_s", lambda _: next(left))


def test_a_quick_look_that_starts_too_slowly_tries_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "QUICK_S", 0.0)
    results = run_probe(monkeypatch, "time.sleep(3600)")[0]
    assert {results[cell][2:] for cell in TRIED} == {
        ("skipped", "not tried within 0 s; doctor --deep takes its time")
    }


def test_a_quick_look_is_over_in_time_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    give_time(monkeypatch, 240.0, 240.0, 0.0)
    results = run_probe(monkeypatch, READY + "write('measured', '')\ntime.sleep(3600)")[0]
    assert [results[cell].status for cell in TRIED] == ["measured", *["skipped"] * 3]


def test_a_deep_look_ends_a_cell_that_hangs_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    give_time(monkeypatch, *[240.0] * 3, 0.0, *[240.0] * 4)
    hanging = "    if [name, mode] == ['flex', 'forward']: time.sleep(3600)\n"
    source = f"{READY}for name, mode in cells:\n{hanging}    write('measured', '')\n"
    results = run_probe(monkeypatch, source, deep=True)[0]
    assert results["flex", "forward"][2:] == ("timed_out", "took over 120 s")
    assert sum(result.status == "measured" for result in results.values()) == 5


def test_on_an_old_gpu_variants_are_tried_in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch, gpus("7.5"))
    source = READY + 'for _ in cells: write("measured", sys.argv[1] + " " + sys.argv[4])\n'
    results, _ = run_probe(monkeypatch, source, device="cuda:1")
    assert {results[cell].reason for cell in TRIED} == {"cuda:1 float16"}


def test_a_worker_that_can_t_start_ends_the_probe_with_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RunFailed, match=r"can't start: exited with 1; it last said: .*nowhere"):
        run_probe(monkeypatch, "import nowhere")


def test_what_a_worker_leaves_behind_is_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_probe(monkeypatch, READY + ANSWER)
    assert list(tmp_path.iterdir()) == []
