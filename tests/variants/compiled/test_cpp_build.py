"""C++ is built once for each text, compiler and processor, or the compiler's reason is given."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from variants.compiled.cpp_build import build_library, cpp_compiler
from variants.compiled.flags import FLAGS
from variants.host.user_cache import user_cache
from variants.problem import Unsupported


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a source that answers with what its header says, and let a cache be empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "numbers").mkdir()
    (folder / "numbers" / "number.h").write_text("constexpr int NUMBER = 3;\n")
    text = '#include "numbers/number.h"\nextern "C" int answer() { return NUMBER; }\n'
    (folder / "answers.cpp").write_text(text)
    return folder / "answers.cpp"


def cache_files() -> list[Path]:
    return sorted(Path(os.environ["XDG_CACHE_HOME"], "alibi-bench", "kernels").glob("*"))


def test_what_was_built_is_loaded_and_alone_is_kept(source: Path) -> None:
    assert build_library(source).answer() == 3
    assert [library.suffix for library in cache_files()] == [".sha256", ".so"]


def test_the_same_text_is_not_built_again(source: Path) -> None:
    build_library(source)
    before = [library.stat().st_mtime_ns for library in cache_files()]
    assert build_library(source).answer() == 3
    assert [library.stat().st_mtime_ns for library in cache_files()] == before


def test_another_header_is_another_library(source: Path) -> None:
    build_library(source)
    (source.parent / "numbers" / "number.h").write_text("constexpr int NUMBER = 4;\n")
    assert build_library(source).answer() == 4
    assert len(cache_files()) == 4


def test_other_flags_are_another_library(source: Path) -> None:
    build_library(source)
    build_library(source, [*FLAGS, "-march=x86-64" if os.uname().machine == "x86_64" else "-O2"])
    assert len(cache_files()) == 4


def test_what_the_compiler_refuses_is_said_in_its_words_and_not_kept(source: Path) -> None:
    source.write_text("int answer() { return missing; }\n")
    with pytest.raises(Unsupported, match=r"g\+\+ refuses: .*answers.cpp:1:23: error: .missing."):
        build_library(source)
    assert cache_files() == []


def test_a_machine_without_a_compiler_is_told_what_to_install(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Unsupported, match="no-such-compiler is not on the PATH: apt-get install"):
        build_library(source)


@pytest.mark.parametrize(("named", "meant"), [("c++", "c++"), ("", "g++"), ("  ", "g++")])
def test_the_compiler_is_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch, named: str, meant: str
) -> None:
    monkeypatch.setenv("CXX", named)
    assert cpp_compiler("it") == meant


def test_a_cache_that_takes_no_file_is_named_with_the_way_out(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(Unsupported, match=r"Not a directory.*name another XDG_CACHE_HOME"):
        build_library(source)


def start_build(source: Path) -> subprocess.Popen[bytes]:
    """Start a process that builds the source and exits with its answer."""
    code = "import sys, pathlib; from variants.compiled.cpp_build import build_library; "
    code += f"sys.exit(build_library(pathlib.Path({str(source)!r})).answer())"
    return subprocess.Popen([sys.executable, "-c", code])


def truncate(library: Path) -> None:
    library.write_bytes(library.read_bytes()[:-100])


def a_pipe(library: Path) -> None:
    library.unlink()
    os.mkfifo(library)


def a_link(library: Path) -> None:
    library.rename(library.with_name("elsewhere"))
    library.symlink_to(library.with_name("elsewhere"))


def writable_by_others(library: Path) -> None:
    library.chmod(0o777)


def without_its_digest(library: Path) -> None:
    library.with_suffix(".sha256").unlink()


DAMAGES = (truncate, a_pipe, a_link, writable_by_others, without_its_digest)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_library_that_is_damaged_or_not_ours_alone_is_built_anew(
    source: Path, damage: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_library(source)  # loads it, so the damage is done to a copy of the cache
    copied_cache = shutil.copytree(os.environ["XDG_CACHE_HOME"], tmp_path / "another cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(copied_cache))
    (library,) = (file for file in cache_files() if file.suffix == ".so")
    damage(library)
    assert build_library(source).answer() == 3
    assert stat.S_ISREG(library.lstat().st_mode)
    assert not library.stat().st_mode & 0o022


def test_a_folder_of_another_user_is_not_loaded_from(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Unsupported, match=r"belongs to another user.*name another XDG_CACHE_HOME"):
        build_library(source)
    assert cache_files() == []


def test_folders_of_a_careless_umask_are_closed_to_others(source: Path) -> None:
    before = os.umask(0)
    try:
        build_library(source)
    finally:
        os.umask(before)
    cache = Path(os.environ["XDG_CACHE_HOME"], "alibi-bench")
    cache.chmod(0o777)
    build_library(source)
    for path in (cache, cache / "kernels", *cache_files()):
        assert not path.stat().st_mode & 0o022, path


def test_a_cache_named_by_a_relative_path_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache() == tmp_path / ".cache" / "alibi-bench"


def test_a_compiler_named_with_half_a_quote_is_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", 'g++ "')
    with pytest.raises(Unsupported, match="No closing quotation; name a C"):
        cpp_compiler("it")


@pytest.mark.heavy
def test_two_that_build_at_once_both_load_a_whole_library(source: Path) -> None:
    both = [start_build(source), start_build(source)]
    assert [one.wait(60) for one in both] == [3, 3]
    assert build_library(source).answer() == 3
    assert len(cache_files()) == 2
