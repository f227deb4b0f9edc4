"""Every device with published results has a selection, and it is what choose makes of them."""

from pathlib import Path

import pytest

from reports.candidates import Rules
from reports.choose import choose
from suite.store import read as read_results
from variants.selection import COMMITTED, path_of, read

ROOT = Path(__file__).parents[2]
MACHINES = sorted(path for path in (ROOT / "results" / "published").iterdir() if path.is_dir())


def test_there_is_one_for_each_device_and_no_other() -> None:
    assert [path.name for path in MACHINES] == sorted(file.stem for file in COMMITTED.iterdir())


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_it_is_chosen_from_all_that_is_published(machine: Path) -> None:
    files = [read_results(file) for file in sorted(machine.glob("*.jsonl"))]
    assert read(path_of(COMMITTED, machine.name)) == choose(files, Rules()).selection
