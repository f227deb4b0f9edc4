"""Sides of a comparison without a repository: another interpreter, and kernels of a user."""

import sys
from pathlib import Path

import pytest

from suite.kernels.user_kernels import read_kernel
from suite.lanes.interpreter import NoInterpreter
from suite.pairs.sides import head_side, interpreter_side, kernel_sides, with_kernels


@pytest.mark.heavy
def test_another_interpreter_brings_its_own_software() -> None:
    side = interpreter_side(sys.executable)
    assert side.launch.command == (sys.executable, "-m", "suite.lanes.lane")
    assert side.software["torch"] != "absent"
    assert f"torch {side.software['torch']}" in side.what


def test_an_interpreter_that_is_not_there_is_refused() -> None:
    with pytest.raises(NoInterpreter, match="--base-python /no/such/python: no such program"):
        interpreter_side("/no/such/python")


def test_an_interpreter_may_be_named_from_the_folder_that_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("""#!/bin/sh\necho '{"torch": "9.9"}'\n""")
    (tmp_path / "bin" / "python").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    side = interpreter_side("bin/python")
    assert side.launch.command[0] == str(tmp_path / "bin" / "python")
    assert side.what == "bin/python (torch 9.9)"


@pytest.mark.parametrize("program", ["true", "echo"])
def test_a_program_that_is_no_interpreter_is_refused(program: str) -> None:
    words = f"--base-python {program}: it does not run Python; name an interpreter"
    with pytest.raises(NoInterpreter, match=words):
        interpreter_side(program)


def test_an_interpreter_in_which_no_lane_starts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("torch", "msgspec", "psutil", "pynvml"):
        (tmp_path / f"{package}.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    words = r"Error: .*; it needs Python 3\.11 or later and what lanes import"
    with pytest.raises(NoInterpreter, match=words):
        interpreter_side(sys.executable)


def test_an_interpreter_that_lacks_torch_is_refused_with_its_last_words(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(
        "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'torch'\" >&2\nexit 1\n"
    )
    bare.chmod(0o755)
    words = r"No module named 'torch'; it needs Python 3\.11 or later and what lanes import"
    with pytest.raises(NoInterpreter, match=words):
        interpreter_side(str(bare))


def test_kernels_of_a_user_stand_beside_a_sides_variants_or_are_all_it_has(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / f"{name}.py").write_text("def prepare(spec, block=1): ...")
    old, new = (read_kernel(f"{tmp_path}/{name}?block=2") for name in ("old.py", "new.py"))
    beside = with_kernels(head_side({}, "this"), (new,)).variants
    assert beside["new.py?block=2"].module == str(tmp_path / "new.py")
    assert "eager" in beside
    base, head = kernel_sides(old, new, {})
    assert [list(side.variants) for side in (base, head)] == [["new.py?block=2"]] * 2
    assert base.variants["new.py?block=2"].module == str(tmp_path / "old.py")
    assert base.variants["new.py?block=2"].options == {"block": 2}
    assert with_kernels(base, (new,)) == base
