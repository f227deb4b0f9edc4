"""An experiment leaves out what its file has, and goes on only where the file was begun alike."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from suite.conditions.device import device_for
from suite.failures import BadRequest
from suite.quality.design import Design, LengthTest
from suite.quality.experiment import Experiment, models_folder, prepare
from suite.quality.record import Training
from tests.quality_files import qualities, write
from tests.suite.quality.toys import toy_design, write_toy_text

DESIGN = toy_design("alibi", "rope", seeds=2)


def begin(folder: Path, design: Design = DESIGN, argv: Sequence[str] = ()) -> Experiment:
    text = folder / "text"
    if not text.exists():
        text.mkdir()
        write_toy_text(text)
    path = folder / "lengths.jsonl"
    return prepare(path, design, device_for("cpu"), text, argv, lambda _: None)


def test_a_new_experiment_has_every_model_and_its_text_beside_the_file(tmp_path: Path) -> None:
    experiment = begin(tmp_path)
    assert [(each.method, each.seed) for each in experiment.tasks] == [
        ("alibi", 0),
        ("rope", 0),
        ("alibi", 1),
        ("rope", 1),
    ]
    assert {each.text_file for each in experiment.tasks} == {
        str(models_folder(tmp_path / "lengths.jsonl") / "text.npz")
    }
    header = experiment.header
    assert header.text_name == "text"
    assert len(header.window_bytes) == len(header.target_bytes) == header.text.windows
    assert all(t < w for t, w in zip(header.target_bytes, header.window_bytes, strict=True))


def test_a_command_line_is_recorded_without_the_folders_of_its_paths(tmp_path: Path) -> None:
    experiment = begin(tmp_path, argv=("lengths", "--out", str(tmp_path / "lengths.jsonl")))
    assert experiment.header.argv == ("lengths", "--out", "lengths.jsonl")


def test_what_is_in_the_file_is_left_out_and_weights_are_kept_of_models_that_have_learned(
    tmp_path: Path,
) -> None:
    first = begin(tmp_path)
    of_rope = first.tasks[1]
    for task in first.tasks:
        Path(task.weights_file).touch()
    learned = Training("rope", 0, "none", False, (4.0,), 1.0, 100)
    lines = [
        each
        for each in qualities(DESIGN)
        if each.seed == 0 and (each.method == "alibi" or each.change == "none")
    ]
    bits = (1.0,) * DESIGN.windows
    lines = [msgspec.structs.replace(e, by_windows=bits, on_same_targets=bits) for e in lines]
    write(tmp_path / "lengths.jsonl", [first.header, learned, *lines])
    left = begin(tmp_path).tasks
    assert [(each.method, each.seed) for each in left] == [("rope", 0), ("alibi", 1), ("rope", 1)]
    assert LengthTest("none", tuned=False) not in left[0].tests
    assert LengthTest("yarn", tuned=True) in left[0].tests
    assert [Path(each.weights_file).exists() for each in left] == [True, False, False]
    assert left[0].weights_file == of_rope.weights_file


def test_another_design_can_t_go_on_in_the_file(tmp_path: Path) -> None:
    first = begin(tmp_path)
    write(tmp_path / "lengths.jsonl", [first.header])
    with pytest.raises(BadRequest, match="another design named toy"):
        begin(tmp_path, msgspec.structs.replace(DESIGN, steps=41))


def test_another_text_can_t_go_on_in_the_file(tmp_path: Path) -> None:
    first = begin(tmp_path)
    write(tmp_path / "lengths.jsonl", [first.header])
    (models_folder(tmp_path / "lengths.jsonl") / "text.npz").unlink()
    (tmp_path / "text" / "0.txt").write_text("other words " * 100)
    with pytest.raises(BadRequest, match=r"text \w+, now \w+; start a new one"):
        begin(tmp_path)


def test_a_new_file_does_not_take_the_text_that_an_older_one_left(tmp_path: Path) -> None:
    first = begin(tmp_path)
    (tmp_path / "text" / "0.txt").write_text("other words " * 100)
    assert begin(tmp_path).header.text.digest != first.header.text.digest
