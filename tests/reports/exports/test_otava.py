"""Apache Otava reads the export of a history, and finds the step that was planted in it."""

import csv
import io
import json
from pathlib import Path

import pytest

from reports.commands.console import write_folder
from reports.exports.formats import export_folder
from tests.records import a_machine, a_plan
from tests.reports.export_runs import (
    CELL,
    COMMITS,
    KEY,
    STEP_AT,
    a_finished_run,
    a_history,
    invented_commits,
    reader,
)

FILE = f"{KEY}/{CELL}.csv"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_each_cell_has_a_file_with_a_row_for_each_run_by_time() -> None:
    files = export_folder(a_history()[::-1], "otava").files
    assert set(files) == {"otava.yaml", FILE, FILE.replace("flex", "no_bias")}
    rows = rows_of(files[FILE])
    assert [row["commit"] for row in rows] == invented_commits()
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert {row["torch"] for row in rows} == {"2.13.0"}


def test_a_run_that_did_not_measure_a_cell_has_no_row_in_its_file() -> None:
    history = a_history()
    history[3] = history[3]._replace(
        records=[each for each in history[3].records if getattr(each, "variant", "") != "flex"]
    )
    export = export_folder(history, "otava")
    assert len(rows_of(export.files[FILE])) == COMMITS - 1
    assert len(rows_of(export.files[FILE.replace("flex", "no_bias")])) == COMMITS
    assert export.cautions[0].startswith(f"1 of {2 * COMMITS} cells are left out")


def test_runs_of_an_older_policy_are_left_out_and_counted() -> None:
    other = a_machine(a_plan(passes=3), threads=1, started="2025-01-01T00:00:00+00:00")
    export = export_folder([a_finished_run(header=other), *a_history()], "otava")
    assert len(rows_of(export.files[FILE])) == COMMITS
    assert "2 of 50 times are left out: the newest run has another policy" in export.cautions


def test_uncommitted_changes_are_marked_in_the_commit() -> None:
    import msgspec

    header = a_machine(a_plan(passes=3))
    changed = msgspec.structs.replace(header.circumstances, uncommitted=True)
    run = a_finished_run(header=msgspec.structs.replace(header, circumstances=changed))
    (row,) = rows_of(export_folder([run], "otava").files[FILE])
    assert row["commit"] == "0" * 40 + " with changes"


@pytest.mark.heavy
def test_otava_finds_the_planted_step_at_its_commit_and_no_other(tmp_path: Path) -> None:
    write_folder(tmp_path, export_folder(a_history(), "otava").files)
    config = ("--config-file", "otava.yaml")
    reader("otava", "validate", *config, folder=tmp_path)
    text = reader("otava", "analyze", "alibi", *config, "--output", "json", folder=tmp_path)
    found = {name: steps for line in text.splitlines() for name, steps in json.loads(line).items()}
    (step,) = found.pop(f"{KEY}/{CELL}")
    assert step["attributes"]["commit"] == invented_commits()[STEP_AT]
    (change,) = step["changes"]
    assert float(change["mean_before"]) == pytest.approx(1.0, rel=0.02)
    assert float(change["mean_after"]) == pytest.approx(1.1, rel=0.02)
    assert found == {f"{KEY}/n512-h8-d64-float32/no_bias": []}
