"""How far tests go: the light tier draws few examples and takes a part of each matrix."""

import os
from collections import defaultdict
from collections.abc import Sequence

import pytest

FULL = "ALIBI_TESTS_FULL"
LEADS = ("name", "variant")
"""What the first argument of a matrix is called, which meets every value of the others."""


def examples(number: int) -> int:
    """Return `number` with --full, else a twelfth of it and at least five."""
    return number if FULL in os.environ else max(5, number // 12)


def length(longest: int, light: int) -> int:
    """Return the longest length that is drawn: `longest` with --full, else `light`."""
    return longest if FULL in os.environ else light


def the_first(count: int, values: Sequence[object]) -> list[object]:
    """Return the parameters of a test, of which the light tier takes the first `count`.

    A tuple holds the values of several arguments.
    """
    rest = [value if isinstance(value, tuple) else (value,) for value in values[count:]]
    return [*values[:count], *(pytest.param(*value, marks=pytest.mark.heavy) for value in rest)]


def is_on_the_diagonal(cell: dict[str, int], sizes: dict[str, int]) -> bool:
    """Say whether a cell of a matrix is one in which values meet for the first time.

    Each lead meets each value of the longest other argument once, with values of the rest that
    differ from lead to lead.
    """
    lead = next((cell[name] for name in LEADS if name in cell), 0)
    others = sorted((name for name in sizes if name not in LEADS), key=lambda name: -sizes[name])
    return all(
        cell[name] == (cell[others[0]] + turn * lead) % sizes[name]
        for turn, name in enumerate(others)
        if turn
    )


def make_heavy_what_repeats(items: list[pytest.Item]) -> None:
    """Mark the cells of tests marked matrix that the light tier does without."""
    matrices: dict[str, list[pytest.Function]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("matrix"):
            matrices[item.nodeid.partition("[")[0]].append(item)
    for cells in matrices.values():
        indices = indices_of([cell.callspec.params for cell in cells])
        sizes = {name: 1 + max(index[name] for index in indices) for name in indices[0]}
        for cell, index in zip(cells, indices, strict=True):
            if not is_on_the_diagonal(index, sizes):
                cell.add_marker("heavy")


def indices_of(cells: list[dict[str, object]]) -> list[dict[str, int]]:
    """Number the values of each argument in the order in which they appear."""
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    return [
        {name: numbers[name].setdefault(repr(value), len(numbers[name])) for name, value in items}
        for items in (cell.items() for cell in cells)
    ]
