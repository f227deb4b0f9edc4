"""Builds the wheel: suite, variants and reports go inside of alibi_bench, with built kernels.

At the top level of a site-packages folder their names could be those of a user's own packages. In a
checkout, and where it is installed with --editable, they stay at the top level.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from variants.compiled.flags import LEVELS, place  # noqa: E402

FOLDERS = ("reports", "suite", "variants")
OF_A_CHECKOUT = "reports/generated"  # it writes docs/
KERNELS = "variants/native/kernel/native_window.cpp"

_DOTTED = re.compile(rf"(?<![\w.])({'|'.join(FOLDERS)})\.(\w+)")
_FROM = re.compile(rf"\bfrom ({'|'.join(FOLDERS)})(?= import\b)")


def inside(text: str, root: Path) -> str:
    """Return a module's text with alibi_bench before each name of a module in `root`'s folders.

    Names in strings and comments count: lanes, variants and code for other interpreters are named
    in strings. Done to its own result, it changes nothing.
    """

    def prefixed(match: re.Match[str]) -> str:
        folder, module = match.groups()
        is_module = (root / folder / module).is_dir() or (root / folder / f"{module}.py").exists()
        return f"alibi_bench.{match[0]}" if is_module else match[0]

    return _FROM.sub(r"from alibi_bench.\1", _DOTTED.sub(prefixed, text))


def move_inside(built: Path) -> None:
    """Move the folders in `built` into its alibi_bench; adapt imports and add selections."""
    package = built / "alibi_bench"
    for folder in FOLDERS:
        shutil.rmtree(package / folder, ignore_errors=True)
        shutil.move(built / folder, package / folder)
    shutil.rmtree(package / OF_A_CHECKOUT)
    for module in package.rglob("*.py"):
        module.write_text(inside(module.read_text(), package))
    shutil.copytree(HERE / "selections", package / "selections", dirs_exist_ok=True)


def compile_kernels(package: Path) -> None:
    """Compile the kernels for each level; leave out what the compiler can't do, with its words."""
    source = package / KERNELS
    for level in LEVELS:
        library = place(source, level)
        library.parent.mkdir(exist_ok=True)
        command = [*compiler(), *level.flags, str(source), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.stderr.write(f"no kernels for {level.name}: {done.stderr.strip()[:300]}\n")


def compiler() -> list[str]:
    """Return the command of the C++ compiler: $CXX, or else g++."""
    return shlex.split(os.environ.get("CXX", "")) or ["g++"]


def compiles_here() -> bool:
    """Whether kernels are compiled: levels are of x86-64, and a compiler is needed."""
    return os.uname().machine == "x86_64" and shutil.which(compiler()[0]) is not None


class BuildInside(build_py):
    """Builds what a wheel holds; an editable installation is left as it is."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            move_inside(Path(self.build_lib))
            if compiles_here():
                compile_kernels(Path(self.build_lib, "alibi_bench"))


class WheelOfAMachine(bdist_wheel):
    """A wheel for any Python 3, and for this machine's kind if there are kernels in it."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags of Python, ABI and machine."""
        return ("py3", "none", super().get_tag()[2])

    def write_wheelfile(self, wheelfile_base: str, *arguments: str) -> None:
        """Write WHEEL, and the one name that the wheel has at the top level."""
        super().write_wheelfile(wheelfile_base, *arguments)
        Path(wheelfile_base, "top_level.txt").write_text("alibi_bench\n")


class WithKernels(Distribution):
    """A distribution whose files are a machine's if kernels are compiled."""

    def has_ext_modules(self) -> bool:
        """Whether there is machine code in it."""
        return compiles_here()


setup(
    distclass=WithKernels,
    cmdclass={"build_py": BuildInside, "bdist_wheel": WheelOfAMachine},
)
