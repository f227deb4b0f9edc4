"""A side of a comparison that is a git reference, in a worktree that is always removed."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil
import pytest

from suite.lanes.interpreter import NoInterpreter
from suite.pairs import sides, worktree
from suite.pairs.sides import NoSide, reference_side

ROOT = Path(__file__).parents[3]
CATALOG = """
from typing import NamedTuple

class Variant(NamedTuple):
    name: str
    module: str
    answers: str = "alibi"

CATALOG = (Variant("no_bias", "variants.plain.no_bias", "no_bias"), Variant("old", "variants.old"))
"""


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    done = subprocess.run(
        ["git", "-C", folder, *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose first commit has an older catalog, and whose tree has gone on."""
    folder = tmp_path / "repository"
    (folder / "variants").mkdir(parents=True)
    (folder / "suite").symlink_to(ROOT / "suite")
    (folder / "variants" / "catalog.py").write_text(CATALOG)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "old")
    git(folder, "tag", "old")
    (folder / "variants" / "catalog.py").write_text(CATALOG.replace("old", "new"))
    git(folder, "commit", "--quiet", "--all", "--message", "new")
    monkeypatch.setattr(sides, "ROOT", folder)
    monkeypatch.setattr(worktree, "ROOT", folder)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return folder


def remains_of(folder: Path) -> list[str]:
    """Return what a side has left behind."""
    worktrees = git(folder, "worktree", "list", "--porcelain").split("\n\n")
    return [*(path.name for path in folder.parent.glob("alibi-bench-side-*")), *worktrees[1:]]


def test_a_reference_has_its_own_variants_and_this_tree_s_suite(repository: Path) -> None:
    with reference_side("old", {"torch": "2.13"}) as side:
        assert set(side.variants) == {"no_bias", "old"}
        assert side.variants["old"].module == "variants.old"
        assert side.what == f"old ({git(repository, 'rev-parse', 'old')[:12]})"
        assert side.software == {"torch": "2.13"}
        assert (side.launch.folder / "suite").resolve() == ROOT / "suite"
    assert remains_of(repository) == []


def test_a_reference_keeps_its_own_variants_where_python_trusts_no_folder(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    with reference_side("old", {}) as side:
        assert set(side.variants) == {"no_bias", "old"}


def test_what_is_uncommitted_here_is_not_in_the_base(repository: Path) -> None:
    (repository / "variants" / "catalog.py").write_text("raise SystemExit('half done')")
    with reference_side("HEAD", {}) as side:
        assert set(side.variants) == {"no_bias", "new"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_worktree_is_removed_whatever_happens(
    error: type[BaseException], repository: Path
) -> None:
    def interrupt() -> None:
        with reference_side("old", {}):
            assert len(remains_of(repository)) == 2
            raise error

    with pytest.raises(error):
        interrupt()
    assert remains_of(repository) == []


@pytest.fixture
def slow_checkout(repository: Path) -> Iterator[Path]:
    """A repository whose checkout waits for an hour, and is interrupted as soon as it does."""

    def ring(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    waits, over = repository.parent / "waits", threading.Event()

    def interrupt() -> None:
        while not (waits.exists() or over.wait(0.02)):
            """The checkout has not come to its filter."""
        if waits.exists():
            os.kill(os.getpid(), signal.SIGALRM)

    (repository / ".git" / "info" / "attributes").write_text("*.py filter=slow\n")
    git(repository, "config", "filter.slow.smudge", f"touch {waits}; sleep 3600; cat")
    git(repository, "config", "filter.slow.clean", "cat")
    before = signal.signal(signal.SIGALRM, ring)
    watcher = threading.Thread(target=interrupt)
    watcher.start()
    yield repository
    over.set()
    watcher.join()
    signal.signal(signal.SIGALRM, before)


def test_a_checkout_that_is_interrupted_leaves_nothing(slow_checkout: Path) -> None:
    with pytest.raises(KeyboardInterrupt), reference_side("old", {}):
        pass
    assert remains_of(slow_checkout) == []
    folder = str(slow_checkout.parent)
    words = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
    assert [line for line in words if folder in line] == []


def test_a_second_interruption_does_not_leave_half_of_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = shutil.rmtree

    def interrupt(folder: Path, *, ignore_errors: bool) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        remove(folder, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", interrupt)
    with pytest.raises(KeyboardInterrupt), reference_side("old", {}):
        raise KeyboardInterrupt
    assert remains_of(repository) == []


def test_what_a_killed_run_left_is_removed_by_the_next(repository: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = repository.parent / f"alibi-bench-side-{dead.pid}-x"
    git(repository, "worktree", "add", "--quiet", "--detach", str(left / "tree"), "old")
    living = repository.parent / f"alibi-bench-side-{os.getpid()}-x"
    living.mkdir()
    with reference_side("old", {}):
        assert not left.exists()
    assert remains_of(repository) == [living.name]


@pytest.mark.parametrize("reference", ["nosuch", "", "--help", "old:variants", "HEAD~99"])
def test_a_reference_that_is_no_commit_is_refused_at_once(reference: str, repository: Path) -> None:
    with (
        pytest.raises(NoSide, match="git knows no such commit here"),
        reference_side(reference, {}),
    ):
        pass
    assert remains_of(repository) == []


def test_without_a_repository_a_reference_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worktree, "ROOT", tmp_path)
    words = "this is no git repository; use --base-python"
    with pytest.raises(NoSide, match=words), reference_side("main", {}):
        pass


def test_another_complaint_of_git_is_told_in_its_own_words(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / ".git" / "config").write_text("[core\n")
    with pytest.raises(NoSide, match="--base main: git rev-parse: fatal: bad config line 1"):
        reference_side("main", {}).__enter__()
    monkeypatch.setenv("PATH", str(repository))
    with pytest.raises(NoSide, match=r"--base main: git: .*; install git"):
        reference_side("main", {}).__enter__()


def test_a_commit_without_a_catalog_is_refused(repository: Path) -> None:
    git(repository, "rm", "--quiet", "-r", "variants")
    git(repository, "commit", "--quiet", "--message", "gone")
    with (
        pytest.raises(NoSide, match=r"has no variants/catalog.py"),
        reference_side("HEAD", {}),
    ):
        pass
    assert remains_of(repository) == []


def test_a_commit_whose_catalog_fails_is_refused_with_its_last_words(repository: Path) -> None:
    (repository / "variants" / "catalog.py").write_text("import nothing_like_it")
    git(repository, "commit", "--quiet", "--all", "--message", "broken")
    words = "No module named 'nothing_like_it'"
    with pytest.raises(NoInterpreter, match=words), reference_side("HEAD", {}):
        pass
    assert remains_of(repository) == []
