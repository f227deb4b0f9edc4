"""`run --device all` on two invented GPUs: real processes, lanes that compute nothing."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from suite.records.record import Time
from suite.records.store import read
from tests.fakes.gpu_lane import HOST_BOUND_UP_TO
from tests.fakes.with_two_gpus import PROGRAM, environment
from variants.catalog import BY_NAME

pytestmark = pytest.mark.heavy

SHORT, LONG, LONGER = HOST_BOUND_UP_TO, 2 * HOST_BOUND_UP_TO, 4 * HOST_BOUND_UP_TO
WORDS = ["run", "--device", "all", "--dtypes", "float32", "--variants", "eager,flex"]
WORDS += ["--models", "bloom-560m", "--passes", "1"]

ProgramExit = subprocess.CompletedProcess[str]


def bench(*words: object) -> ProgramExit:
    """Run a command line on the machine with two GPUs."""
    return subprocess.run(
        [sys.executable, *PROGRAM, *map(str, words)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def times(path: Path) -> list[Time]:
    return [record for record in read(path).records if isinstance(record, Time)]


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory) -> tuple[ProgramExit, Sequence[Path]]:
    """Race a host-bound and a device-bound case on both GPUs, once for the tests that look."""
    folder = tmp_path_factory.mktemp("all")
    where = ("--page", "--out", folder / "x.jsonl")
    done = bench(*WORDS, "--lengths", f"{SHORT},{LONG}", *where)
    return done, [folder / "x-cuda0.jsonl", folder / "x-cuda1.jsonl"]


def test_each_gpu_has_a_whole_file_in_which_every_cell_counts_once(
    race: tuple[ProgramExit, Sequence[Path]],
) -> None:
    done, paths = race
    assert done.returncode == 0, done.stderr
    for number, path in enumerate(paths):
        results = read(path)
        assert results.header.plan.device == f"cuda:{number}"
        cells = [(time.case.q_len, time.variant) for time in times(path)]
        names = ("no_bias", "eager", "flex")
        assert sorted(cells) == sorted((n, name) for n in (SHORT, LONG) for name in names)


def test_host_bound_cells_are_raced_by_one_gpu_after_the_other(
    race: tuple[ProgramExit, Sequence[Path]],
) -> None:
    _, paths = race
    alone = [[time.race for time in times(path) if time.case.q_len == SHORT] for path in paths]
    side_by_side = [time.race for path in paths for time in times(path) if time.case.q_len == LONG]
    assert max(side_by_side) < min(alone[0])
    assert max(alone[0]) < min(alone[1])


def test_the_output_states_what_is_shared_and_names_the_slower_gpu(
    race: tuple[ProgramExit, Sequence[Path]],
) -> None:
    done, paths = race
    assert done.stderr.startswith("2 GPUs share ")
    assert "cuda:1  [3/6 cells" in done.stderr
    slow = read(paths[1]).header.circumstances.unit
    words = " ".join(done.stdout.split())
    assert "differ by 8.0% (the middle of 3 shared cells or limits):" in words
    assert f"{slow} 1.080x (x-cuda1.jsonl): an outlier; SM clock 1200 to 1200 MHz, " in words
    assert "lowered by power cap" in words
    assert f"unit {slow};" in words
    assert f"Results: {paths[0]}\nResults: {paths[1]}\n" in done.stdout


def test_a_page_of_all_gpus_lies_beside_their_files(
    race: tuple[ProgramExit, Sequence[Path]],
) -> None:
    done, paths = race
    page = paths[0].with_name("x-page") / "index.html"
    assert done.stdout.rstrip().endswith(f"Page: {page}")
    assert "cuda-invented-gpu-132sm-80gib-700w" in page.read_text()


@pytest.fixture
def hanging_race(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start a run on all GPUs whose second race hangs, and wait until both GPUs are in it."""
    hangs = f'[["{BY_NAME["eager"].module}", {LONGER}, "Slice", "hang"]]'
    words = [*WORDS, "--lengths", f"{LONG},{LONGER}", "--out", str(tmp_path / "x.jsonl")]
    with subprocess.Popen(
        [sys.executable, *PROGRAM, *words],
        env=environment() | {"FAULTS": hangs},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        ready: set[str] = set()
        while len(ready) < 2:
            line = running.stderr.readline()
            assert line, "it ended before both GPUs had raced"
            if "[3/6 cells" in line:
                ready.add(line.split()[0])
        yield running
        running.kill()


def test_interrupted_it_stops_all_gpus_and_goes_on_with_resume(
    hanging_race: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    hanging_race.send_signal(signal.SIGINT)
    out, err = hanging_race.communicate(timeout=60)
    assert (hanging_race.returncode, out) == (3, "")
    paths = [tmp_path / f"x-cuda{number}.jsonl" for number in range(2)]
    again = f"run --device all --resume {tmp_path / 'x.jsonl'}"
    assert err.splitlines()[-1] == f"Error: interrupted; {again} measures the rest"
    assert [len(times(path)) for path in paths] == [3, 3]
    paths[0].unlink()  # as if it had been interrupted before this GPU had begun
    done = bench("run", "--device", "all", "--resume", tmp_path / "x.jsonl")
    assert done.returncode == 0, done.stderr
    assert [read(path).missing() for path in paths] == [0, 0]
    assert [len(times(path)) for path in paths] == [6, 6]


def test_killed_it_leaves_no_run_behind(hanging_race: "subprocess.Popen[str]") -> None:
    runs = psutil.Process(hanging_race.pid).children()
    lanes = [lane for each in runs for lane in each.children()]
    assert len(runs) == 2
    hanging_race.kill()
    assert psutil.wait_procs(runs, timeout=20)[1] == []
    for lane in lanes:  # a real one ends with its parent by itself
        with suppress(psutil.NoSuchProcess):
            lane.kill()


def test_a_file_that_exists_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "x-cuda1.jsonl").write_text("")
    done = bench(*WORDS, "--lengths", SHORT, "--out", tmp_path / "x.jsonl")
    assert done.returncode == 2
    again = f"--device all --resume {tmp_path / 'x.jsonl'} completes it"
    assert done.stderr == f"Error: --out: {tmp_path / 'x-cuda1.jsonl'} exists; {again}\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "x-cuda1.jsonl"]


def test_with_a_budget_half_of_it_is_for_racing_side_by_side(tmp_path: Path) -> None:
    done = bench(*WORDS, "--lengths", SHORT, "--budget", "40s", "--out", tmp_path / "x.jsonl")
    assert done.returncode == 0, done.stderr
    argv = [read(tmp_path / f"x-cuda{number}.jsonl").header.argv for number in range(2)]
    assert [words[words.index("--budget") + 1] for words in argv] == ["20s", "20s"]
    assert len(times(tmp_path / "x-cuda1.jsonl")) == 3
