"""Which cells are exported, under which names, and what is said of the others."""

from pathlib import Path

import pytest

from reports.exports.points import cautions_of, file_name, points_of, refuse_several
from reports.tables.cells import groups
from suite.failures import BadRequest
from suite.records.store import Results
from tests.records import a_case, a_cell, a_fault, a_machine, a_plan, a_run, results
from tests.reports.export_runs import CELL, KEY, a_finished_run


def names_of(*files: Results) -> list[str]:
    return [point.name for point in points_of(groups(files))]


def test_only_measured_cells_are_points() -> None:
    assert names_of(a_finished_run()) == ["n512-h8-d64-float32/no_bias", CELL]


def test_a_name_is_the_same_at_another_commit_and_with_another_torch() -> None:
    plan = a_plan(variants=["no_bias", "flex", "eager", "compile"], passes=3)
    later = a_finished_run(header=a_machine(plan, commit="f" * 40, torch="2.14.0"))
    assert names_of(later) == names_of(a_finished_run())


def test_the_name_on_a_device_begins_with_its_hardware_key() -> None:
    points = points_of(groups([a_finished_run()]))
    assert [point.name_on_device for point in points][1] == f"{KEY}/{CELL}"


def test_memory_is_the_peak_and_what_is_held_between_calls() -> None:
    no_bias, flex = points_of(groups([a_finished_run()]))
    assert flex.memory_bytes == (3 << 20) + (1 << 20)
    assert no_bias.memory_bytes is None


def test_cells_without_a_time_are_counted_with_their_reasons() -> None:
    count, disagrees, unsupported = cautions_of(groups([a_finished_run()]))
    assert count.startswith("2 of 4 cells are left out")
    assert disagrees.startswith("eager disagrees at 512: ")
    assert unsupported == "compile unsupported at 512: no compiler"


def test_a_time_that_cannot_be_true_is_left_out() -> None:
    case = a_case()
    fault = a_fault(case, "flex", status="implausible", reason="faster than the device")
    run = results(a_machine(), *a_cell(case, "flex"), *a_cell(case, "eager"), fault)
    assert names_of(run) == ["n512-h8-d64-float32/eager"]
    assert "flex implausible at 512: faster than the device" in cautions_of(groups([run]))


def test_a_time_that_is_too_noisy_is_exported_and_named() -> None:
    (group,) = groups([a_run({"no_bias": [1.0], "flex": [2.0]})])
    group.rows[1].contradictory = True
    assert len(points_of([group])) == 2
    assert cautions_of([group]) == [f"1 of 2 cells are too noisy: {CELL}"]


def test_nothing_is_said_where_every_cell_has_a_time() -> None:
    whole = a_run({"no_bias": [1.0, 1.0, 1.0], "flex": [2.0, 2.1, 2.0]})
    assert cautions_of(groups([whole])) == []


def test_files_without_any_time_are_refused() -> None:
    plan = a_plan(variants=["flex"])
    with pytest.raises(BadRequest, match="no cell of FILES has a time"):
        points_of(groups([results(a_machine(plan), a_fault(a_case(), "flex"))]))


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"key": "cpu-other-4cores"}, "hardware key"),
        ({"torch": "2.14.0"}, "torch"),
        ({"threads": 4}, "threads"),
        ({"commit": "f" * 40}, "commit ffffffffffff"),
    ],
)
def test_several_runs_are_refused_where_a_format_is_of_one(
    changed: dict[str, str], word: str
) -> None:
    other = a_finished_run(header=a_machine(a_plan(passes=3), **changed))  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match=word) as refused:
        refuse_several(groups([a_finished_run(), other]), "bencher")
    assert "export each alone" in str(refused.value)


def test_a_files_name_never_leads_out_of_its_folder_and_no_two_texts_share_one() -> None:
    texts = ["..", ".", "../x", "/etc/x", "a/b", "a_b", "a%2Fb", "a:b", "./k.py?block=64", "käse"]
    names = [file_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert all(Path("folder", name).resolve().parent == Path("folder").resolve() for name in names)
    assert file_name("d30b8acd-torch2.13.0+cpu.json") == "d30b8acd-torch2.13.0+cpu.json"


def test_two_files_of_one_run_are_one() -> None:
    refuse_several(groups([a_finished_run(), a_finished_run()]), "bencher")
