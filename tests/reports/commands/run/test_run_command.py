"""`run` from the command line, with real variants: its table, its exits, its interruption."""

import json
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from suite.cases.plan import Plan
from suite.failures import BadRequest
from suite.records.record import Time
from suite.records.store import read
from tests.fakes.console import Exit, bench
from tests.fakes.gpus import gpus, with_cuda
from tests.fakes.in_process import start_real_lanes_in_process, take_few_turns
from tests.fakes.with_invented_lanes import command, surroundings
from variants.catalog import BY_NAME

ROOT = Path(__file__).parents[4]
ON_CPU = ["--device", "cpu"]
SMALL = [*ON_CPU, "--variants", "eager,sdpa_key", "--lengths", "32", "--dtypes", "float32,bfloat16"]


RACED_FIRST, RACED_LAST = 16, 24
"""Lengths in the order in which a run of seed 0 races them."""

Race = tuple[Path, Exit]


@pytest.fixture(
    scope="module", params=["threads", pytest.param("processes", marks=pytest.mark.heavy)]
)
def race(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Race:
    """Run three variants over two tiny cases once, for the tests that only look."""
    file = tmp_path_factory.mktemp("run") / "small.jsonl"
    with pytest.MonkeyPatch.context() as monkeypatch:
        if request.param == "threads":
            start_real_lanes_in_process(monkeypatch)
        else:
            take_few_turns(monkeypatch)
        return file, bench("run", *SMALL, "--passes", "1", "--out", file)


def test_a_run_ends_with_the_table_the_fastest_and_the_files_path(race: Race) -> None:
    file, done = race
    assert done.returncode == 0, done.stderr
    assert "baseline" in done.stdout
    assert "fastest that agrees" in done.stdout
    assert done.stdout.strip().endswith(f"Results: {file}")


def test_progress_goes_to_stderr_in_plain_lines_when_nobody_watches(race: Race) -> None:
    _, done = race
    assert "6 cells to measure" in done.stderr
    assert "[6/6 cells, 0s left] pass 1, n32-h8-d64" in done.stderr
    assert "\x1b" not in done.stderr


def test_the_file_gives_the_same_table_again(race: Race) -> None:
    file, done = race
    again = bench("table", str(file))
    assert again.returncode == 0
    assert done.stdout.startswith(again.stdout.rstrip())


def test_a_row_names_the_kernels_that_ran(race: Race) -> None:
    file, _ = race
    rows = json.loads(bench("table", str(file), "--format", "json").stdout)
    kernels = {row["variant"]: row["kernels"] for row in rows if row["dtype"] == "bfloat16"}
    assert kernels["sdpa_key"] == ["scaled_dot_product_flash_attention_for_cpu"]
    assert kernels["eager"] == ["bmm", "softmax"]


def test_resuming_a_finished_run_measures_nothing(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_few_turns(monkeypatch)
    file, _ = race
    before = [record for record in read(file).records if isinstance(record, Time)]
    done = bench("run", "--resume", str(file))
    assert done.returncode == 0, done.stderr
    assert "0 cells to measure" in done.stderr
    assert [record for record in read(file).records if isinstance(record, Time)] == before


def test_an_interrupted_run_says_how_to_go_on_and_resumes_without_measuring_twice(
    tmp_path: Path,
) -> None:
    file = tmp_path / "interrupted.jsonl"
    words = [*ON_CPU, "--variants", "eager", "--lengths", f"{RACED_FIRST},{RACED_LAST}"]
    words += ["--dtypes", "float32", "--passes", "1", "--out", str(file)]
    running = subprocess.Popen(
        command("run", *words),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=surroundings([(BY_NAME["eager"].module, RACED_LAST, "Slice", "hang")]),
    )
    assert running.stderr is not None
    assert any(line.startswith("[2/4 cells") for line in running.stderr)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 3
    assert out == ""
    assert err.splitlines()[-1] == f"Error: interrupted; run --resume {file} measures the rest"
    assert "Traceback" not in err
    assert len(read(file).finished_cells()) == 2

    resumed = subprocess.run(
        command("run", "--resume", file),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=surroundings(),
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "fastest that agrees" in resumed.stdout
    times = [record for record in read(file).records if isinstance(record, Time)]
    counted = Counter((time.case.id, time.variant) for time in times)
    assert set(counted.values()) == {1}
    assert len(counted) == 4


def test_strict_exits_1_when_a_variant_disagrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_real_lanes_in_process(monkeypatch)
    words = ["--variants", "sdpa_key", "--lengths", "600", "--dtypes", "float32", "--passes", "1"]
    done = bench("run", *ON_CPU, *words, "--strict", "--out", tmp_path / "strict.jsonl")
    assert "disagrees" in done.stdout
    assert done.returncode == 1


def test_without_a_compiler_compile_and_flex_name_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_real_lanes_in_process(monkeypatch)
    monkeypatch.setenv("CXX", "no-such-compiler")
    words = ["--variants", "compile,flex", "--lengths", "16", "--dtypes", "float32"]
    done = bench("run", *ON_CPU, *words, "--passes", "1", "--out", tmp_path / "bare.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("unsupported") >= 4
    assert "apt-get install g++" in done.stdout


@pytest.mark.parametrize(
    "words", [("run",), ("choose", "--tune"), ("aa",)], ids=lambda words: words[0]
)
def test_an_old_gpu_is_measured_in_float16_by_every_command(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(plan: Plan, *_: object) -> None:
        raise BadRequest(" ".join(sorted({case.dtype for case in plan.cases})))

    with_cuda(monkeypatch, gpus("7.5"))
    monkeypatch.setattr("suite.records.fingerprint.run_header", stop)
    done = bench(*words, *(() if words[0] == "choose" else ("--out", tmp_path / "it.jsonl")))
    assert (done.returncode, done.stderr) == (2, "Error: float16\n")
