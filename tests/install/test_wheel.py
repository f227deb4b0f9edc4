"""An installed wheel works in a project that has a suite, a variants and a reports of its own."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import pytest
from filelock import FileLock

from suite.conditions.policy import ROOT
from tests.fakes.one_core import on_one_core
from variants.compiled.flags import LEVELS

pytestmark = pytest.mark.heavy

CALL = """
import torch, alibi_bench, suite, variants, reports.yearly
assert suite.OWNER == variants.OWNER == reports.yearly.OWNER == "the user"
q = torch.ones(1, 2, 8, 64)
out = alibi_bench.alibi_attention(q, q, q, variant="native_window")
assert torch.allclose(out, q), out
assert alibi_bench.alibi_slopes(2).shape == (2,)
print(alibi_bench.__version__, alibi_bench.variant_for(q, q, q), alibi_bench.Unsupported.__module__)
"""

SIDE = """
import os, sys
from alibi_bench.suite.lanes.interpreter import import_folder
from alibi_bench.suite.pairs.sides import interpreter_side
with import_folder() as folder:
    side = interpreter_side(sys.argv[1], folder)
    assert side.variants["eager"].module == "alibi_bench.variants.plain.eager"
    assert side.launch.command[2] == "alibi_bench.suite.lanes.lane"
    print(side.launch.folder, *os.listdir(folder), sep="\\n")
"""


class Project(NamedTuple):
    """A user's project, with the wheel installed into its environment."""

    folder: Path
    programs: Path
    environment: dict[str, str]

    def end(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in the project's folder; return how it ended."""
        return subprocess.run(
            [self.programs / words[0], *words[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *words: str) -> str:
        """Run such a program, which must succeed; return its output."""
        done = self.end(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def package_folder(self) -> Path:
        """The folder of the installed package."""
        (package,) = self.programs.parent.glob("lib/*/site-packages/alibi_bench")
        return package


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this tree, which the workers of pytest-xdist build once for all."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return build_wheel(tmp_path_factory.mktemp("wheel"))
    folder = tmp_path_factory.getbasetemp().parent / "wheel"
    with FileLock(folder.with_suffix(".lock")):
        return next(folder.glob("*.whl"), None) or build_wheel(folder)


def build_wheel(folder: Path) -> Path:
    """Build the wheel in a folder, from a copy of what git holds or would hold."""
    names = subprocess.check_output(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    )
    for name in names.decode().split("\0"):
        if (ROOT / name).is_file() and not name.startswith(("results/", "tests/")):
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "tree" / name).write_bytes((ROOT / name).read_bytes())
    words = ("wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(folder))
    subprocess.run([sys.executable, "-m", "pip", *words, str(folder / "tree")], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def project(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose environment has the wheel, and the packages of this one beside it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "suite.py").write_text("OWNER = 'the user'\n")
    for package, module in (("variants", "__init__"), ("reports", "yearly")):
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
        (folder / package / f"{module}.py").write_text("OWNER = 'the user'\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    programs = folder / ".venv" / "bin"
    (packages,) = (folder / ".venv").glob("lib/*/site-packages")
    # A .pth file's folder is looked up last, and its own .pth files, an editable tree, not at all.
    (packages / "packages.pth").write_text(sysconfig.get_path("purelib"))
    words = ("--python", str(programs / "python"), "install", "--no-deps", "--quiet", str(wheel))
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    cache = {"XDG_CACHE_HOME": str(folder / "cache")}
    return Project(folder, programs, os.environ | cache | {"CXX": "no-compiler", "COLUMNS": "200"})


def test_the_wheel_has_one_name_at_the_top_level(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "alibi_bench"
    }


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="kernels are shipped for x86-64")
def test_the_wheel_is_of_this_machine_s_kind_and_has_the_kernels_built(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-linux_x86_64.whl")
    folder = "alibi_bench/variants/native/kernel/prebuilt"
    built = {f"{folder}/native_window-{level.name}.so" for level in LEVELS}
    assert built <= set(ZipFile(wheel).namelist())


def test_the_command_is_on_the_path_and_named_in_its_help(project: Project) -> None:
    assert project.run("alibi-bench", "--version").startswith("alibi-bench 0.")
    for words in ((), ("run",), ("best",), ("doctor",)):
        text = project.run("alibi-bench", *words, "--help")
        assert text.startswith("Usage: alibi-bench")
        assert "      alibi-bench" in text or "    alibi-bench" in text
        assert "run_bench" not in text


def test_names_are_listed(project: Project) -> None:
    assert "native_window" in project.run("alibi-bench", "list", "variants")
    assert "bloom-560m" in project.run("alibi-bench", "list", "models")


def test_the_committed_selections_answer(project: Project) -> None:
    (device,) = (path.stem for path in (ROOT / "selections").glob("*amx*.json"))
    words = ("best", "--models", "bloom-560m", "--length", "3000", "--hardware", device)
    assert project.run("alibi-bench", *words).startswith("native_window\n")


def test_a_run_measures_into_the_working_directory(project: Project) -> None:
    before = sorted(project.package_folder.rglob("*.jsonl"))
    words = ("run", "--device", "cpu", "--lengths", "64", "--dtypes", "float32", "--heads", "2")
    with on_one_core():
        text = project.run("alibi-bench", *words, "--variants", "native_window", "--passes", "1")
    (results,) = project.folder.glob("results/*.jsonl")
    assert f"Results: {results}" in text
    assert sorted(project.package_folder.rglob("*.jsonl")) == before
    assert "native_window" in project.run("alibi-bench", "table", str(results))
    written = results.read_text()
    assert '"record":"agreement"' in written
    assert '"commit":"tree-' in written


def test_another_interpreter_imports_the_installed_code_and_its_own_packages(
    project: Project,
) -> None:
    (project.folder / "side.py").write_text(SIDE)
    folder, *names = project.run("python", "side.py", sys.executable).splitlines()
    assert names == ["alibi_bench"]
    assert not Path(folder).exists()


def test_a_git_reference_is_declined_though_the_project_is_under_git(project: Project) -> None:
    subprocess.run(["git", "init", "--quiet", project.folder], check=True)
    done = project.end("alibi-bench", "ab", "--base", "HEAD")
    assert done.returncode == 2
    assert "an installed package and no git checkout; use --base-python" in done.stderr


def test_alibi_bench_is_imported_beside_packages_of_the_same_names(project: Project) -> None:
    """No compiler is there: the kernel is the wheel's."""
    (project.folder / "call.py").write_text(CALL)
    version, variant, module = project.run("python", "call.py").split()
    assert version.startswith("0.")
    assert variant
    assert module == "alibi_bench.variants.problem"
    assert not list((project.folder / "cache").rglob("*.so"))
