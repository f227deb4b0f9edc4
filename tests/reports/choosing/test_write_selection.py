"""The file of a selection is whole or not there, and no `choose` loses another's choices."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from reports.choosing.write_selection import incumbent, lock_folder, write
from suite.failures import BadRequest
from suite.records.store import NotWritten
from tests.reports.tunings import select, tuning
from variants.selection.files import LARGEST_BYTES, read

ROOT = Path(__file__).parents[3]
TIMES = {"eager": {512: 3.0, 1024: 9.0}, "flex": {512: 2.0, 1024: 6.0}}


def test_a_selection_that_was_written_is_read_again(tmp_path: Path) -> None:
    selection = select(tuning(TIMES)).selection
    path = tmp_path / "new" / f"{selection.hardware.key}.json"
    write(path, selection)
    assert read(path) == selection
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert path.stat().st_size < LARGEST_BYTES


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    selection = select(tuning(TIMES)).selection
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotWritten, match="name another --out"):
        write(tmp_path / "file" / "selection.json", selection)
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(NotWritten, match=r"taken\.json"):
        write(tmp_path / "taken.json", selection)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "taken.json"]


def test_a_selection_that_no_reader_would_take_leaves_what_was_there(tmp_path: Path) -> None:
    good = select(tuning(TIMES)).selection
    path = tmp_path / f"{good.hardware.key}.json"
    write(path, good)
    (choice, *others) = good.choices
    candidate = msgspec.structs.replace(choice.candidates[0], error=1e7)
    wrong = msgspec.structs.replace(choice, candidates=(candidate, *choice.candidates[1:]))
    with pytest.raises(BadRequest, match=r"can't be read again .*error.*: leave out the file"):
        write(path, msgspec.structs.replace(good, choices=(wrong, *others)))
    assert read(path) == good


def test_the_first_selection_that_can_be_read_is_the_incumbent(tmp_path: Path) -> None:
    selection = select(tuning(TIMES)).selection
    good, bad = tmp_path / f"{selection.hardware.key}.json", tmp_path / "bad.json"
    write(good, selection)
    bad.write_text("{")
    found, refused = incumbent([tmp_path / "none.json", bad, good])
    assert found == selection
    assert len(refused) == 1
    assert str(bad) in refused[0]
    assert incumbent([]) == (None, [])


ADD_A_LENGTH = """
import sys
from pathlib import Path
from reports.choosing.candidates import Rules
from reports.choosing.choose import choose
from reports.choosing.write_selection import lock_folder, incumbent, write
from tests.reports.tunings import tuning

path, length = Path(sys.argv[1]), int(sys.argv[2])
with lock_folder(path.parent):
    before, _ = incumbent([path])
    write(path, choose([tuning({"eager": {length: 1.0}})], Rules(), before).selection)
"""


@pytest.mark.heavy
def test_of_several_at_once_none_loses_the_others_choices(tmp_path: Path) -> None:
    path = tmp_path / "selections" / f"{select(tuning(TIMES)).selection.hardware.key}.json"
    lengths = [64, 128, 192, 256, 320, 384]
    started = [
        subprocess.Popen([sys.executable, "-c", ADD_A_LENGTH, path, str(length)], cwd=ROOT)
        for length in lengths
    ]
    assert [one.wait() for one in started] == [0] * len(lengths)
    assert sorted(one.problem.kv_len for one in read(path).choices) == lengths


def test_a_folder_that_cannot_be_had_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with lock_folder(tmp_path / "file" / "selections"):
        pass
