"""docs/adding-a-variant.md, followed to the letter in a copy of the tree."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def copy_of_the_tree(folder: Path) -> None:
    """Copy what git tracks or would track, less the results of devices."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.endswith(".jsonl"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def follow_page(tree: Path) -> tuple[str, str]:
    """Add the page's file and line to a tree; return the file's name and the page's commands."""
    page = (ROOT / "docs" / "adding-a-variant.md").read_text()
    (file_name,) = re.findall(r"Save this as `(.+?)`", page)
    ((catalog, above),) = re.findall(r"In `(.+?)`, below `(.+?)`", page)
    source, line = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (commands,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (tree / file_name).write_text(source)
    entry = rf'(    Variant\(\s*"{above}",.*?\n)(?=    Variant\()'
    text, places = re.subn(entry, rf"\1{line}", (tree / catalog).read_text(), flags=re.DOTALL)
    assert places == 1, f"{catalog} has {places} places below {above}"
    (tree / catalog).write_text(text)
    return file_name, str(commands)


def add_the_variant_of_the_page(tree: Path) -> str:
    """Follow the page in a copy of the tree; return the commands that it then names."""
    copy_of_the_tree(tree)
    return follow_page(tree)[1]


def run_in(tree: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=tree, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


EVERYWHERE = """
from reports.generated.variants_page import page
from reports.pages.listing import variants
from suite.cases.case import Case
from suite.clocks.timer import Bench
from suite.lanes.prepared_case import PreparedCase, Subject
from variants.catalog import BY_NAME
import torch

case = Case(heads=2, kv_heads=2, head_dim=16, q_len=64, kv_len=64, dtype="float32")
line = BY_NAME["sdpa_finite"]
subject = Subject(line.module, line.options, line.answers)
ready = PreparedCase(subject, case, 0, Bench(torch.device("cpu")))
with torch.no_grad():
    agrees = ready.check("before", 1).agrees
print("sdpa_finite" in variants(), "[`sdpa_finite`](#sdpa_finite)" in page(), agrees)
"""


def test_the_page_names_a_place_in_the_catalog_and_a_folder_that_are_there(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "variants", tmp_path / "variants")
    file_name, commands = follow_page(tmp_path)
    assert Path(file_name).stem in commands
    compile((tmp_path / "variants" / "catalog.py").read_text(), "catalog.py", "exec")


@pytest.mark.heavy
def test_a_file_and_a_line_are_all_that_listing_docs_and_agreement_need(tmp_path: Path) -> None:
    add_the_variant_of_the_page(tmp_path)
    assert run_in(tmp_path, "-c", EVERYWHERE) == "True True True\n"


@pytest.mark.long
@pytest.mark.heavy
def test_the_worked_example_ends_with_an_agreeing_variant(tmp_path: Path) -> None:
    commands = add_the_variant_of_the_page(tmp_path)
    outputs = []
    for command in commands.splitlines():
        python, *words = shlex.split(command)
        assert python == "python"
        in_few_turns = ("-m", "tests.fakes.few_turns") if words[0] == "run_bench.py" else ()
        outputs.append(run_in(tmp_path, *in_few_turns, *words))
    listed, raced, tested = outputs
    assert "sdpa_finite" in listed
    assert raced.count("sdpa_finite") >= 2
    assert re.search(r"\d+ passed", tested)
