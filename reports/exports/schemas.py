"""The JSON schemas of what this program writes, made of the types that it reads them with."""

from inspect import cleandoc
from typing import Any, Literal, get_args

import msgspec

from reports.exports.points import json_text
from reports.tables.row import Row
from suite.records.record import Record
from variants.selection.schema import Selection

Document = Literal["results", "selections", "table"]
DOCUMENTS: tuple[Document, ...] = get_args(Document)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES: dict[Document, Any] = {"results": Record, "selections": Selection, "table": list[Row]}
_TITLES: dict[Document, str] = {
    "results": "One line of a results file of alibi-bench",
    "selections": "A selection of alibi-bench",
    "table": "What alibi-bench's `table --format json` prints",
}


def schema_text(document: Document) -> str:
    """Return the JSON schema of a line of a results file, of a selection, or of a table."""
    schema = _clean(msgspec.json.schema(_TYPES[document]))
    return json_text({"$schema": DIALECT, "title": _TITLES[document], **schema})


def _clean(schema: Any) -> Any:
    """Return a schema whose descriptions are not indented, as docstrings are before Python 3.13."""
    if isinstance(schema, list):
        return [_clean(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: cleandoc(part) if name == "description" and isinstance(part, str) else _clean(part)
        for name, part in schema.items()
    }
