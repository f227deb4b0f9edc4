"""Damage to files of JSON lines: what a disk, an editor or another program may do to them."""

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

NUMBERS: tuple[Any, ...] = (0, -1, 1, 3, 16, 2**24, 2**31, 2**40, 2**53, 2**63, 10**400)
FRACTIONS: tuple[Any, ...] = (0.0, -0.5, -1e30, 5e-324, 1e-300, 1e-9, 1.5, 1e15, 1e30, 1e308)
OTHERS: tuple[Any, ...] = (None, True, "", "auto", "\x00\x1b[31m\n", "\ud800", [], [[]], [0, 0], {})
WORDS = ("measured", "bfloat16", "decode", "second", "base", "no such variant", "sdpa_key")


@st.composite
def damaged_content(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    """Draw the content of a file whose lines were these, with up to three of them damaged.

    Kinds of lines are equally likely, however many lines there are of each.
    """
    damaged_lines = list(lines)
    kinds = sorted({_kind(line) for line in lines})
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(kinds))
        alike = [number for number, line in enumerate(lines) if _kind(line) == kind]
        for number in draw(st.sampled_from([alike, alike[:1], alike[-1:]])):
            damaged_lines[number] = draw(_damaged_line(lines[number]))
    content = b"\n".join(damaged_lines) + b"\n"
    is_cut = draw(st.integers(0, 19)) == 0
    return content[: draw(st.integers(0, len(content)))] if is_cut else content


def _kind(line: bytes) -> str:
    return str(json.loads(line).get("record"))


@st.composite
def _damaged_line(draw: st.DrawFn, line: bytes) -> bytes:
    """Draw a line in which one or two values are replaced or missing."""
    record = json.loads(line)
    for _ in range(draw(st.integers(1, 2))):
        holder = record
        while True:
            key = draw(
                st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder)))
            )
            inner = holder[key]
            if not isinstance(inner, dict | list) or not inner or draw(st.integers(0, 7)) == 0:
                break
            holder = inner
        if draw(st.integers(0, 11)) == 0:
            del holder[key]
        else:
            holder[key] = deepcopy(draw(_replacement(inner)))
        if not record:
            break
    return json.dumps(record).encode()


def _replacement(value: Any) -> st.SearchStrategy[Any]:
    """Draw a value in the place of another, mostly of its type."""
    alike: tuple[Any, ...] = OTHERS
    match value:
        case bool():
            alike = (not value,)
        case int():
            alike = NUMBERS
        case float():
            alike = FRACTIONS
        case str():
            alike = WORDS
        case None:
            alike = (*NUMBERS, *FRACTIONS)
    return st.sampled_from((*alike, *alike, *alike, *OTHERS))
