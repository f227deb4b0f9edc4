"""The JSON schemas in docs/schemas are those of the types, and published files follow them."""

import json
from pathlib import Path
from typing import get_args

import pytest

from reports.exports.schemas import DOCUMENTS, Document, schema_text
from reports.generated.write import PUBLISHED
from reports.tables.row import Row
from suite.conditions.policy import ROOT
from suite.records.record import Record
from tests.reports.export_runs import reader

SCHEMAS = ROOT / "docs" / "schemas"
VALIDATE = """
import json, sys
from jsonschema import Draft202012Validator
schema, documents = map(json.load, map(open, sys.argv[1:]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
print(json.dumps([validator.is_valid(document) for document in documents]))
"""


def are_valid(document: Document, values: list[object], folder: Path) -> list[bool]:
    """Return for each value whether jsonschema finds it valid by the schema in docs/."""
    (folder / "values.json").write_text(json.dumps(values))
    schema = SCHEMAS / f"{document}.json"
    answer: list[bool] = json.loads(
        reader("python", "-c", VALIDATE, schema, "values.json", folder=folder)
    )
    return answer


def some_lines() -> list[dict[str, object]]:
    """Return of each published file the first line of every kind, and ten or so of the others."""
    lines: list[dict[str, object]] = []
    for file in sorted(PUBLISHED.glob("**/*.jsonl")):
        decoded = [json.loads(line) for line in file.read_text().splitlines()]
        lines += {line["record"]: line for line in reversed(decoded)}.values()
        lines += decoded[:: max(1, len(decoded) // 10)]
    return lines


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_schema_in_docs_is_that_of_the_types(document: Document) -> None:
    assert (SCHEMAS / f"{document}.json").read_text() == f"{schema_text(document)}\n", "make docs"


def test_no_other_schema_is_there() -> None:
    assert {path.stem for path in SCHEMAS.iterdir()} == set(DOCUMENTS)


def test_the_tables_schema_has_every_field_of_a_row_with_its_meaning() -> None:
    row = json.loads(schema_text("table"))["$defs"]["Row"]
    assert set(row["properties"]) == set(Row.__struct_fields__)
    assert "\n    " not in row["description"], "an indented docstring"


@pytest.mark.heavy
def test_published_lines_are_valid_and_a_line_with_an_unknown_field_is_not(tmp_path: Path) -> None:
    lines = some_lines()
    assert {line["record"] for line in lines} == {
        kind.__struct_config__.tag for kind in get_args(Record)
    }
    wrong = [{**lines[0], "color": "red"}, {**lines[0], "record": "nothing"}]
    assert are_valid("results", [*lines, *wrong], tmp_path) == [True] * len(lines) + [False] * 2


@pytest.mark.heavy
def test_committed_selections_are_valid_and_one_with_a_control_in_a_name_is_not(
    tmp_path: Path,
) -> None:
    selections = [json.loads(file.read_text()) for file in sorted((ROOT / "selections").iterdir())]
    wrong = json.loads(json.dumps(selections[0]))
    wrong["choices"][0]["variant"] += "\n"
    assert are_valid("selections", [*selections, wrong], tmp_path) == [True] * len(selections) + [
        False
    ]
