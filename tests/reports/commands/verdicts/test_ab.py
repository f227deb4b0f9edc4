"""`ab` and `aa` as commands, with real lanes: exit codes, and nothing left whatever happens."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from suite.lanes.handle import environment
from suite.pairs.duel import ROUNDS, VISITS
from suite.pairs.sides import reference_side
from suite.records.record import Pair
from suite.records.store import read
from tests.effort import the_first
from tests.fakes.console import Exit, assert_refused, bench
from tests.fakes.in_process import start_real_lanes_in_process
from tests.fakes.with_invented_lanes import command, surroundings
from variants.catalog import BY_NAME

ROOT = Path(__file__).parents[4]
TINY = ("--device", "cpu", "--lengths", "64", "--variants", "sdpa_mask")

PAIRS = str(next(ROOT.glob("results/published/*/aa/01.jsonl")))

FLAT_VARIANTS = "f1098e2"
"""The last commit whose variants are modules in one folder."""

WHOSE_CODE = """
import sys
import suite.lanes.lane
for name in ("variants.catalog", "variants.problem"):
    print(name, __import__("os").path.realpath(sys.modules[name].__file__))
"""

in_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this tree is not under git")


def worktrees(folder: Path) -> list[str]:
    """Return the worktrees in a folder: others of the same repository may come and go meanwhile."""
    listed = subprocess.run(
        ["git", "worktree", "list", "--porcelain"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in listed.stdout.splitlines() if line.startswith(f"worktree {folder}")]


def test_options_that_make_no_case_are_those_that_were_typed() -> None:
    line = assert_refused(bench("aa", "--device", "cpu", "--norms"))
    assert line.startswith("Error: --norms makes no case: ")


def test_a_kernel_that_no_list_can_name_is_refused_by_the_option_that_was_typed(
    tmp_path: Path,
) -> None:
    (tmp_path / "a,b").mkdir()
    base, head = tmp_path / "base.py", tmp_path / "a,b" / "head.py"
    for file in (base, head):
        file.write_text("def prepare(spec):\n    raise NotImplementedError\n")
    line = assert_refused(bench("ab", "--base", base, "--head", head))
    assert line.startswith(f"Error: --head {head}: ")
    assert "comma" in line


@pytest.mark.long
@pytest.mark.heavy
def test_a_planted_slowdown_is_found_and_its_file_says_so_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_real_lanes_in_process(monkeypatch)
    file = tmp_path / "aa.jsonl"
    words = ("--device", "cpu", "--lengths", "256", "--variants", "sdpa_key", "--inject", "400%")
    done = bench("aa", *words, "--pairs", "5", "--out", file)
    if done.returncode == 3 and "the machine is busy" in done.stderr:
        pytest.skip("what else runs here moves times by more than the planted slowdown")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 slower" in done.stdout
    assert "slowed by 400% on purpose" in done.stdout
    again = bench("compare", file)
    assert again.returncode == 1
    assert "REGRESSED: 1 of 1 cell judged: 1 slower" in again.stdout


@in_git
def test_a_commit_against_itself_raises_no_alarm_and_leaves_no_worktree(tmp_path: Path) -> None:
    options = ("--pairs", "4", "--gate", "50%", "--out", tmp_path / "ab.jsonl")
    done = subprocess.run(
        command("ab", "--base", "HEAD", *TINY, *options),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=surroundings() | {"TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no regression: 1 of 1 cell judged: 1 same" in done.stdout
    assert worktrees(tmp_path) == []
    assert list(tmp_path.glob("alibi-bench-*")) == []


def assert_no_alarm(done: Exit) -> None:
    """Fail for a regression; on a busy machine the only cell may be too noisy to judge."""
    told = {0: "no regression: 1 of 1 cell judged", 3: "NOT JUDGED: 0 of 1 cell judged"}
    assert done.returncode in told, done.stdout + done.stderr
    assert told[done.returncode] in done.stdout


@in_git
@pytest.mark.heavy
def test_a_base_from_before_the_variants_had_folders_is_still_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.cases.parse.LEAST_PAIRS", 1)
    options = ("--pairs", "1", "--gate", "90%", "--out", tmp_path / "ab.jsonl")
    done = bench("ab", "--base", FLAT_VARIANTS, *TINY, *options)
    assert_no_alarm(done)
    pairs = [record for record in read(tmp_path / "ab.jsonl").records if isinstance(record, Pair)]
    assert [(pair.variant, len(pair.rounds)) for pair in pairs] == [("sdpa_mask", VISITS * ROUNDS)]


@in_git
@pytest.mark.heavy
def test_the_lanes_of_a_base_from_before_the_folders_import_its_own_variants() -> None:
    with reference_side(FLAT_VARIANTS, {}) as side:
        assert side.variants["sdpa_mask"].module == "variants.sdpa_mask"
        done = subprocess.run(
            [sys.executable, "-c", WHOSE_CODE],
            cwd=side.launch.folder,
            capture_output=True,
            text=True,
            check=True,
            env=environment(),
        )
        imported = dict(line.split() for line in done.stdout.splitlines())
        assert {Path(file).parent for file in imported.values()} == {
            side.launch.folder / "tree" / "variants"
        }
    assert set(imported) == {"variants.catalog", "variants.problem"}


@in_git
@pytest.mark.parametrize(
    "stop", the_first(1, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]), ids=str
)
def test_an_interrupted_comparison_removes_its_worktree(
    stop: signal.Signals, tmp_path: Path
) -> None:
    hang = [(BY_NAME["sdpa_mask"].module, 64, "Slice", "hang")]
    words = ("ab", "--base", "HEAD", *TINY, "--pairs", "500", "--out", tmp_path / "ab.jsonl")
    process = subprocess.Popen(
        command(*words),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=surroundings(hang) | {"TMPDIR": str(tmp_path)},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "warm-up" in line:
            break
    assert len(worktrees(tmp_path)) == 1
    process.send_signal(stop)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "interrupted" in said
    assert worktrees(tmp_path) == []
    assert list(tmp_path.glob("alibi-bench-*")) == []


def test_programs_get_the_rates_alone() -> None:
    done = bench("aa", "--pairs", "0", "--format", "json", PAIRS)
    assert done.returncode == 0
    assert json.loads(done.stdout)["rates"]["pairs"] == 10


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["ab"], "give --base REF or --base-python EXE"),
        (["ab", "--base", "HEAD", "--base-python", "python3"], "one of them"),
        (["ab", "--base-python", "/no/such"], "no such program"),
        (["aa", "--inject", "1000%"], "--inject 1000%: give a share such as 5%, below 1000%"),
        (["aa", "--gate", "0%"], "--gate 0%: give a share such as 5%"),
        (["aa", "--pairs", "0"], "name FILES of earlier pairs"),
        (["aa", "--pairs", "0", "--gate", "7", PAIRS], "--gate 7: give a share such as 5%"),
        (["aa", "--pairs", "0", "--inject", "5%", PAIRS], "nothing is measured; drop --inject"),
        (["aa", "--pairs", "0", "--out", "x.jsonl", PAIRS], "nothing is measured; drop --out"),
        (["aa", "--pairs", "0", "--norms", PAIRS], "nothing is measured; drop --norms"),
        (["aa", "README.md"], "README.md: not a results file"),
        (["run", "--resume", PAIRS], "a file of pairs and no run's"),
        (["aa", "--pairs", "1"], "--pairs 1: give at least 4"),
        (["compare", "/no/such/file"], "/no/such/file: No such file"),
    ],
)
def test_a_mistake_is_refused_in_one_line_before_anything_is_measured(
    words: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    done = bench(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert complaint in done.stderr
