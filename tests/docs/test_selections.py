"""Every device with published results has a selection, and it is what choose makes of them."""

from pathlib import Path

import pytest

from reports.choosing.candidates import Rules
from reports.choosing.choose import choose
from suite.records.store import read as read_results
from variants.selection.files import COMMITTED, path_of, read

ROOT = Path(__file__).parents[2]
DEVICES = sorted(path for path in (ROOT / "results" / "published").iterdir() if path.is_dir())


def test_there_is_one_for_each_device_and_no_other() -> None:
    assert [path.name for path in DEVICES] == sorted(file.stem for file in COMMITTED.iterdir())


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_it_is_chosen_from_all_that_is_published(device: Path) -> None:
    files = [read_results(file) for file in sorted(device.glob("*.jsonl"))]
    assert read(path_of(COMMITTED, device.name)) == choose(files, Rules()).selection
