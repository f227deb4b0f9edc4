"""A wheel's library is taken by what the processor can do, and never believed unchecked."""

import ctypes
import logging
import os
import subprocess
from pathlib import Path

import pytest

from variants.compiled.flags import LEVELS, Level, place
from variants.compiled.shipped import shipped_library
from variants.host.hardware import cpu_flags
from variants.native import kernel_library


def pass_check(_library: ctypes.CDLL) -> None:
    """A check that passes."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a source beside which each level has a library that answers with the level's place."""
    source = tmp_path / "answers.cpp"
    (tmp_path / "prebuilt").mkdir()
    for answer, level in enumerate(LEVELS):
        text = f'extern "C" int answer() {{ return {answer}; }}'
        command = ["g++", "-x", "c++", "-", "-shared", "-fPIC", "-o", str(place(source, level))]
        subprocess.run(command, input=text, text=True, check=True)
    return source


def a_machine(tmp_path: Path, features: frozenset[str]) -> Path:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"vendor_id : Nobody\nflags\t\t: fpu {' '.join(sorted(features))}\n")
    return cpuinfo


@pytest.mark.parametrize("wanted", range(len(LEVELS)), ids=[level.name for level in LEVELS])
def test_the_best_level_that_the_processor_runs_is_taken(
    source: Path, tmp_path: Path, wanted: int
) -> None:
    library = shipped_library(source, pass_check, a_machine(tmp_path, LEVELS[wanted].features))
    assert library is not None
    assert library.answer() == wanted


def test_a_processor_that_lacks_one_feature_of_a_level_takes_the_next(
    source: Path, tmp_path: Path
) -> None:
    machine = a_machine(tmp_path, LEVELS[0].features - {"amx_bf16"})
    library = shipped_library(source, pass_check, machine)
    assert library is not None
    assert library.answer() == 1


def test_an_older_processor_and_a_checkout_have_none(source: Path, tmp_path: Path) -> None:
    old = a_machine(tmp_path, frozenset({"avx"}))
    assert shipped_library(source, pass_check, old) is None
    modern = a_machine(tmp_path, LEVELS[0].features)
    assert shipped_library(tmp_path / "other" / "answers.cpp", pass_check, modern) is None


def test_one_that_does_not_load_is_named_and_left(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place(source, LEVELS[0]).write_bytes(b"of another machine")
    with caplog.at_level(logging.WARNING):
        machine = a_machine(tmp_path, LEVELS[0].features)
        assert shipped_library(source, pass_check, machine) is None
    assert "answers-amx-bf16.so can't be used, so it is built here" in caplog.text


def test_kernels_without_the_functions_that_python_calls_are_left(
    source: Path, tmp_path: Path
) -> None:
    machine = a_machine(tmp_path, LEVELS[0].features)
    assert shipped_library(source, kernel_library._check, machine) is None


def test_levels_name_features_as_linux_does() -> None:
    """Of x86-64's own names, lzcnt is abm in /proc/cpuinfo, and osxsave is left out of it."""
    if {"avx2", "fma"} <= cpu_flags():
        assert LEVELS[-1].features <= cpu_flags()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="levels are of x86-64")
@pytest.mark.parametrize("level", LEVELS, ids=[level.name for level in LEVELS])
def test_the_compiler_knows_every_level(level: Level) -> None:
    command = ["g++", *level.flags, "-E", "-dM", "-x", "c++", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "#define __FMA__" in done.stdout
