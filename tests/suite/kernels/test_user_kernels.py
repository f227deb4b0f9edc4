"""Kernels of a user's own are named by file or function, and a mistake is refused by name."""

from pathlib import Path

import pytest

from suite.cases.request import Request
from suite.failures import BadRequest
from suite.kernels.user_kernels import (
    check_unchanged,
    is_user_kernel,
    read_kernel,
    read_kernels,
    variants_beside,
)
from suite.kernels.variant_module import variant_module
from variants.catalog import BY_NAME, RACED

KERNEL = "def prepare(spec, block=1):\n    return None\n"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a kernel's file into the current folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(KERNEL)
    return file


def test_no_name_of_the_catalog_is_taken_for_a_file() -> None:
    assert not any(map(is_user_kernel, BY_NAME))
    assert all(map(is_user_kernel, ("./a.py", "a.py?x=1", "/tmp/a.py", "a.b:prepare", "../a")))


def test_a_file_becomes_a_variant_of_its_name_and_options(kernel: Path) -> None:
    variant = read_kernel("./mine.py?block=64&fast=true&by=half&rate=0.5").variant
    assert variant.name == "mine.py?block=64&fast=true&by=half&rate=0.5"
    assert variant.module == str(kernel)
    assert variant.options == {"block": 64, "fast": True, "by": "half", "rate": 0.5}
    assert variant.answers == "alibi"


def test_a_function_is_found_without_importing_its_package(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = kernel.parent / "kernels_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("raise ValueError('imported')")
    (package / "fast.py").write_text("from somewhere import thing as attend\n")
    monkeypatch.syspath_prepend(str(kernel.parent))
    variant = read_kernel("kernels_of_mine.fast:attend?x=1").variant
    assert variant.name == "kernels_of_mine.fast:attend?x=1"
    assert variant.module == f"{kernel.parent}:kernels_of_mine.fast:attend"


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("./none.py", "--variants ./none.py: no such file"),
        ("./mine", "--variants ./mine: give a Python file, such as ./my_kernel.py"),
        ("./broken.py", "--variants ./broken.py: invalid syntax"),
        ("./empty.py", r"empty.py: it defines no prepare; a kernel has prepare\(spec\)"),
        ("./mine.py?", r"give each option once, such as \?block=64&warps=4"),
        ("./mine.py?fast&block=64", "give each option once"),
        ("./mine.py?block=1&block=2", "give each option once"),
        ("./mine.py?a=&b=1", "give each option once"),
        ("./mine.py?by=a b", "and options of letters and digits, 200 characters"),
        ("./my kernel.py", "give a name of letters, digits"),
        ("nowhere.at_all:prepare", "give package.module:function of an installed package"),
        ("mine:", "give package.module:function"),
        ("mine:other", "it defines no other"),
    ],
)
@pytest.mark.usefixtures("kernel")
def test_what_can_be_no_kernel_is_refused(
    word: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my kernel.py").write_text(KERNEL)
    (tmp_path / "broken.py").write_text("def prepare(:\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(BadRequest, match=complaint):
        Request(variants=f"eager,{word}").plan("cpu")


@pytest.mark.usefixtures("kernel")
def test_a_plan_has_the_users_kernels_last_and_by_their_digest() -> None:
    plan = Request(variants="./mine.py?block=2,eager,./mine.py").plan("cpu")
    assert plan.variants == ("no_bias", "eager", "mine.py?block=2", "mine.py")
    assert [kernel.word for kernel in plan.kernels] == ["./mine.py?block=2", "./mine.py"]
    assert len({kernel.digest for kernel in plan.kernels}) == 1
    assert [each.name for each in variants_beside(plan.kernels)[len(RACED) :]] == [
        "mine.py?block=2",
        "mine.py",
    ]


def test_two_files_of_one_name_are_refused(kernel: Path) -> None:
    (kernel.parent / "older").mkdir()
    (kernel.parent / "older" / "mine.py").write_text(KERNEL)
    with pytest.raises(BadRequest, match=r"older/mine\.py: give files of different names"):
        Request(variants="./mine.py,./older/mine.py").plan("cpu")
    with pytest.raises(BadRequest, match=r"--alibi-kernel \./mine\.py, \./older/mine\.py: give"):
        read_kernels(["./mine.py", "./older/mine.py"], "--alibi-kernel")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e3", 1000.0), ("1e+3", 1000.0), ("NaN", "NaN"), ("1e400", "1e400"), ("-2", -2)],
)
@pytest.mark.usefixtures("kernel")
def test_an_option_is_a_finite_number_or_a_text(text: str, value: object) -> None:
    assert read_kernel(f"./mine.py?x={text}").variant.options == {"x": value}


def test_a_name_inside_of_a_function_is_no_kernel(kernel: Path) -> None:
    kernel.write_text("def make():\n    def prepare(spec): pass\n")
    with pytest.raises(BadRequest, match="it defines no prepare"):
        read_kernel("./mine.py")
    kernel.write_text("try:\n    from fast import *\nexcept ImportError:\n    pass\n")
    read_kernel("./mine.py")


def test_a_function_stands_for_prepare_and_nothing_else_of_its_module(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kernel.parent / "two_in_one.py").write_text(
        "def prepare_general(spec): pass\ndef fast(spec): return 'fast'\n"
    )
    monkeypatch.syspath_prepend(str(kernel.parent))
    module = variant_module(read_kernel("two_in_one:fast").variant.module)
    assert module.prepare(None) == "fast"
    assert not hasattr(module, "prepare_general")
    with pytest.raises(ImportError, match=r"two_in_one is .* here, and not of /elsewhere"):
        variant_module("/elsewhere:two_in_one:fast")


@pytest.mark.parametrize("changed", ["mine.py", "source.cu", "helper.py", "parts/inner.py"])
def test_a_change_of_the_file_or_of_a_source_beside_it_is_told(kernel: Path, changed: str) -> None:
    (kernel.parent / "source.cu").write_text("// old")
    (kernel.parent / "helper.py").write_text("import parts.inner\n")
    (kernel.parent / "parts").mkdir()
    (kernel.parent / "parts" / "inner.py").write_text("")
    kernel.write_text(f"import math\nfrom helper import thing\n{KERNEL}")
    (kernel.parent / "unrelated.py").write_text("")
    before = read_kernel("./mine.py")
    (kernel.parent / "unrelated.py").write_text("x = 1")
    check_unchanged([before], "--resume")
    with (kernel.parent / changed).open("a") as file:
        file.write("\n# new")
    with pytest.raises(BadRequest, match=r"--resume: \./mine.py has changed since"):
        check_unchanged([before], "--resume")
