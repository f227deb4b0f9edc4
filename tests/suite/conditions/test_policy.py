"""What surrounds a run is read from this machine, and without importing torch."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from suite.conditions import policy
from suite.conditions.device import device_for
from tests.records import a_machine

ROOT = Path(__file__).parents[3]
CODE = """
import sys
from suite.conditions.policy import circumstances
print(*(getattr(circumstances({}), name) for name in sys.argv[1].split()))
"""
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the code, without .git."""
    copied = tmp_path / "tree"
    for folder in ("suite", "variants"):
        shutil.copytree(
            ROOT / folder, copied / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    return copied


def code_of(
    tree: Path, path: str = os.environ["PATH"], attributes: str = "commit uncommitted"
) -> str:
    """Return what a run in `tree` says about its code."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, attributes],
        cwd=tree,
        env=os.environ | {"GIT_CEILING_DIRECTORIES": str(tree.parent), "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def words_for_code_of(tree: Path) -> str:
    """Return the words with which a run in `tree` names its code."""
    return code_of(tree, attributes="code")


def git(tree: Path, *words: str) -> str:
    """Run git as somebody."""
    somebody = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    done = subprocess.run(
        ["git", *somebody, *words], cwd=tree, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_tree_without_git_is_known_by_a_digest(tree: Path) -> None:
    digest, uncommitted = code_of(tree).split(" ")
    assert digest.startswith("tree-")
    assert len(digest) > len("tree-") + 10
    assert uncommitted == "False"


def test_a_machine_without_git_knows_the_digest_too(tree: Path) -> None:
    assert code_of(tree, path="/nowhere") == code_of(tree)


@pytest.mark.parametrize(
    "file",
    [
        "suite/run.py",
        "suite/clocks/cpu_clock.py",
        "variants/plain/eager.py",
        "variants/native/kernel/products/tiles.h",
    ],
)
def test_the_digest_changes_with_the_code(file: str, tree: Path) -> None:
    before = code_of(tree)
    with (tree / file).open("a") as source:
        source.write("\n")
    assert code_of(tree) != before


def test_the_digest_does_not_change_with_results(tree: Path) -> None:
    before = code_of(tree)
    (tree / "results").mkdir()
    (tree / "results" / "run.jsonl").write_text("{}\n")
    assert code_of(tree) == before


def commit_all(tree: Path) -> str:
    """Commit a tree as the first commit of a repository of its own; return the commit."""
    git(tree, "init", "--quiet")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "-m", "all")
    return git(tree, "rev-parse", "HEAD")


@needs_git
def test_a_tree_in_git_is_known_by_its_commit(tree: Path) -> None:
    (tree / "README.md").write_text("before")
    commit = commit_all(tree)
    assert code_of(tree) == f"{commit} False"
    (tree / "new.txt").write_text("not tracked")
    (tree / "README.md").write_text("no code")
    assert code_of(tree) == f"{commit} False"
    assert words_for_code_of(tree) == f"commit {commit[:12]}"
    (tree / "suite" / "run.py").write_text("")
    assert code_of(tree) == f"{commit} True"


@needs_git
def test_a_later_commit_that_changes_no_code_is_the_same_code(tree: Path) -> None:
    commit = commit_all(tree)
    (tree / "README.md").write_text("docs alone")
    assert commit_all(tree) != commit
    assert code_of(tree) == f"{commit} False"
    (tree / "suite" / "run.py").write_text("")
    later = commit_all(tree)
    assert code_of(tree) == f"{later} False"


@needs_git
def test_two_changes_beside_one_commit_are_told_apart_by_their_digests(tree: Path) -> None:
    commit = commit_all(tree)
    words = []
    for text in ("one", "another", "one"):
        (tree / "variants" / "native" / "kernel" / "products" / "tiles.h").write_text(text)
        words.append(words_for_code_of(tree))
    assert words[0].startswith(f"commit {commit[:12]} with uncommitted changes (")
    assert words[0] == words[2] != words[1]


def test_changes_without_a_digest_as_in_older_files_count_as_the_same() -> None:
    older = msgspec.structs.replace(a_machine().circumstances, uncommitted=True)
    assert older.code == "commit 000000000000 with uncommitted changes"


def test_circumstances_that_were_written_without_a_digest_are_read() -> None:
    fields = msgspec.to_builtins(a_machine().circumstances)
    del fields["code_digest"]
    assert msgspec.convert(fields, policy.Circumstances) == a_machine().circumstances


def test_circumstances_are_those_of_this_process() -> None:
    found = policy.circumstances({"name": "Invented GPU"})
    assert found.python == platform.python_version()
    assert found.kernel == platform.release()
    assert found.load_1m >= 0
    assert found.commit
    assert found.gpu == {"name": "Invented GPU"}


def test_threads_are_the_cores_that_may_be_used() -> None:
    cores = device_for("cpu").hardware.cores
    assert 1 <= cores <= len(os.sched_getaffinity(0))
    assert policy.policy("cpu", cores).threads == cores


def test_the_openmp_wait_policy_is_part_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert policy.policy("cpu", 2).omp_wait_policy == "default"
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert policy.policy("cpu", 2).omp_wait_policy == "PASSIVE"


def test_the_malloc_thresholds_are_part_of_the_policy() -> None:
    assert policy.policy("cpu", 2).malloc == policy.MALLOC


def test_a_gpu_is_timed_by_another_clock_with_the_same_threads_and_malloc() -> None:
    on_cpu, on_gpu = policy.policy("cpu", 2), policy.policy("cuda", 2)
    assert on_gpu.clock != on_cpu.clock
    assert on_gpu == msgspec.structs.replace(on_cpu, clock=on_gpu.clock)


def test_the_parent_process_imports_no_torch() -> None:
    code = (
        "import sys, run_bench, suite.run, suite.cases.request, suite.records.fingerprint, "
        "reports.tables.table, reports.commands.progress, reports.pages.listing; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_the_cores_that_a_run_may_use_are_recorded() -> None:
    assert set(policy.circumstances({}).affinity) == os.sched_getaffinity(0)
