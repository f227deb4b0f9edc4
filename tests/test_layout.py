"""The folders, names and imports of the code are what CONTRIBUTING.md promises."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite.conditions.policy import ROOT

PACKAGES = ("variants", "suite", "reports")
FOLDERS = sorted(
    init.parent for package in PACKAGES for init in (ROOT / package).rglob("*/__init__.py")
)
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
NO_NAMES = {"asked", "told", "found", "known", "kept", "chosen", "one", "own", "of"}
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
PLANTS = {
    "One direction: reports -> suite -> variants": ("variants/windows.py", "suite.failures"),
    "Inside reports": ("reports/tables/row.py", "reports.choosing.regret"),
    "Inside suite": ("suite/cases/case.py", "suite.race.race"),
    "Inside variants": ("variants/host/hardware.py", "variants.plain.eager"),
    "A lane asks two modules of variants, so that ab can run an older tree of them": (
        "suite/agreement/oracle/evaluate.py",
        "variants.windows",
    ),
    "Reports, the parent process and what chooses import no torch": (
        "suite/records/store.py",
        "torch",
    ),
    "The catalog imports nothing of ours": ("variants/catalog.py", "variants.problem"),
}
"""For each contract an import that breaks it: the file it is planted in, and the module."""


def definitions(file: Path) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("folder", FOLDERS, ids=relative)
def test_a_folder_says_in_a_line_what_it_is_and_has_two_to_nine_files(folder: Path) -> None:
    text = (folder / "__init__.py").read_text()
    assert re.fullmatch(r'"""[^\n]+\."""\n', text)
    files = [path for path in folder.iterdir() if path.is_file() and path.name != "__init__.py"]
    assert 2 <= len(files) <= 9, sorted(path.name for path in files)


def test_the_map_in_contributing_names_every_folder_and_no_other() -> None:
    rows = re.findall(
        r"^\| `(\w+/[\w/]+)/` \| (.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M
    )
    within = [f"{row}/{name}" for row, text in rows for name in re.findall(r"`(\w+)/`", text)]
    named = [row for row, _ in rows] + [name for name in within if (ROOT / name).is_dir()]
    without_python = {"variants/native/kernel"}
    assert set(named) == {relative(folder) for folder in FOLDERS} | without_python


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_no_module_function_or_type_is_named_by_a_pronoun_or_participle_of_all_work(
    file: Path,
) -> None:
    names = {file.stem, *(node.name for node in definitions(file))}
    assert not {name for name in names if name.strip("_").lower() in NO_NAMES}


def test_no_two_types_share_a_name() -> None:
    types: list[str] = []
    for file in FILES:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                types.append(node.name)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                types += [name] if name[0].isupper() and not name.isupper() else []
    assert not [name for name, times in Counter(types).items() if times > 1]


def test_every_contract_has_an_import_that_would_break_it() -> None:
    assert {contract["name"] for contract in CONTRACTS} == set(PLANTS)


@pytest.mark.heavy
@pytest.mark.parametrize("contract", PLANTS)
def test_an_import_the_wrong_way_breaks_its_contract(contract: str, tmp_path: Path) -> None:
    for package in ("alibi_bench", *PACKAGES):
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file, module = PLANTS[contract]
    with (tmp_path / file).open("a") as source:
        source.write(f"\n\ndef planted() -> None:\n    import {module}\n")
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 1, linted.stdout + linted.stderr
    assert f"{contract} BROKEN" in linted.stdout


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_git_holds_no_link_and_nothing_that_it_ignores() -> None:
    """A link named .venv once stood in the tree, and a clean clone could not be set up."""
    git = ("git", "-C", str(ROOT), "ls-files")
    entries = subprocess.check_output([*git, "--stage"], text=True).splitlines()
    assert entries
    assert [entry for entry in entries if entry.startswith("120000")] == []
    assert subprocess.check_output([*git, "-ci", "--exclude-standard"], text=True) == ""
