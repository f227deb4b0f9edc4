"""A run's compile cache begins empty, ends with the run, and clears up after the dead alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from suite.lanes.compile_cache import compile_cache


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make caches in a folder of the test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def cache_of(folder: Path, owner: int) -> Path:
    """Return a cache with something in it that this process made."""
    cache = folder / f"alibi-bench-{owner}-abc"
    (cache / "deep").mkdir(parents=True)
    (cache / "deep" / "kernel.so").write_text("")
    return cache


def use_a_cache_and_raise(error: type[BaseException]) -> None:
    """Leave the context by an exception."""
    with compile_cache() as cache:
        (cache / "kernel.so").write_text("")
        raise error


def dead_process() -> int:
    """Return the number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_cache_is_empty_and_in_the_temporary_folder(tmp_path: Path) -> None:
    with compile_cache() as cache:
        assert cache.parent == tmp_path
        assert not list(cache.iterdir())


def test_a_cache_is_gone_after_its_run(tmp_path: Path) -> None:
    with compile_cache() as cache:
        (cache / "deep").mkdir()
        (cache / "deep" / "kernel.so").write_text("")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_cache_is_gone_after_a_run_that_fails(
    error: type[BaseException], temporary_folder: Path
) -> None:
    with pytest.raises(error):
        use_a_cache_and_raise(error)
    assert not list(temporary_folder.iterdir())


def test_two_runs_have_a_cache_each() -> None:
    with compile_cache() as one, compile_cache() as other:
        assert one != other
        assert one.is_dir()
        assert other.is_dir()


def test_what_a_dead_process_left_is_swept_away(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, dead_process())
    with compile_cache():
        assert not cache.exists()


@pytest.mark.parametrize("owner", [os.getpid(), 1], ids=["this one", "the first one"])
def test_what_a_living_process_has_is_kept(owner: int, tmp_path: Path) -> None:
    cache = cache_of(tmp_path, owner)
    with compile_cache():
        pass
    assert (cache / "deep" / "kernel.so").exists()


@pytest.mark.parametrize("name", ["alibi-bench-notes", "alibi-bench-", "alibi-bench-12x-y", "x"])
def test_what_is_no_cache_is_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with compile_cache():
        pass
    assert (tmp_path / name).is_dir()
