"""examples/gpu_notebook.ipynb goes from a clone to a download, with the CPU in place of a GPU."""

import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from suite.conditions.policy import ROOT
from suite.records.store import read
from tests.fakes.one_core import on_one_core

NOTEBOOK = ROOT / "examples" / "gpu_notebook.ipynb"
CELLS: list[dict[str, Any]] = msgspec.json.decode(NOTEBOOK.read_bytes())["cells"]
CODE = {cell["id"]: "".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"}

ON_A_CPU = """
REPOSITORY = "{repository}"
DEVICE = "cpu"
MINUTES = 5
OPTIONS = "--lengths 32 --dtypes float32 --passes 3 --variants eager"
NAME = "tiny"
"""


def committed_copy(folder: Path) -> Path:
    """Return a repository whose only commit has the files of this checkout."""
    listed = subprocess.check_output(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    )
    for name in filter(None, listed.decode().split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init",), ("add", "--all"), (*author, "commit", "-m", "all")):
        subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True)
    return folder


def text_of(outputs: list[dict[str, Any]]) -> str:
    """Return what a cell printed and showed."""
    printed = "".join(it.get("text", "") for it in outputs)
    return printed + "".join(str(it.get("data", "")) for it in outputs)


def test_the_notebook_was_saved_without_outputs() -> None:
    assert all(not cell.get("outputs") for cell in CELLS)


def test_the_notebook_installs_no_torch_and_says_what_was_not_seen() -> None:
    assert "torch" not in CODE["install"]
    assert "No one has run this on a GPU yet" in "".join(CELLS[0]["source"])


def test_its_settings_are_all_that_the_cpus_take_the_place_of() -> None:
    names = [line.partition(" = ")[0] for line in CODE["settings"].splitlines()]
    assert names == [line.partition(" = ")[0] for line in ON_A_CPU.strip().splitlines()]


@pytest.mark.heavy
@pytest.mark.long
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_every_cell_runs_on_a_cpu_and_the_archive_has_the_results(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    repository = committed_copy(tmp_path / "repository")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.id == "settings":
            cell.source = ON_A_CPU.format(repository=repository)
    (tmp_path / "here").mkdir()
    resources = {"metadata": {"path": str(tmp_path / "here")}}
    client = NotebookClient(notebook, timeout=280, kernel_name="python3", resources=resources)
    with on_one_core():
        client.execute()
    shown = {cell.id: text_of(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"}
    assert "installed: nothing, all is here" in shown["install"]
    assert "hardware key" in shown["doctor"]
    assert "| eager" in shown["table"]
    checked = "to mend" in shown["publish"] or "Published: results/published/" in shown["publish"]
    assert checked, shown["publish"]
    results = read(tmp_path / "here" / "alibi-bench" / "results" / "gpu.jsonl")
    assert len(results.finished_cells()) == 2 * 3
    assert not results.header.circumstances.uncommitted
    with zipfile.ZipFile(tmp_path / "here" / "alibi-bench-results.zip") as archive:
        names = archive.namelist()
    assert {"results/gpu.jsonl", "results/gpu.md"} <= set(names)
    is_filed = any(name.endswith("/tiny.jsonl") for name in names)
    assert is_filed == ("Published: results/published/" in shown["publish"])
