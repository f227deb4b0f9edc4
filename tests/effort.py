"""How far tests go: the light tier draws few examples and takes a part of each matrix."""

import os
from collections import defaultdict
from collections.abc import Sequence

import pytest

FULL = "ALIBI_TESTS_FULL"
LEADS = ("name", "variant")
"""What an argument of a matrix is called that meets every value of the longest other one."""


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


Cell = dict[tuple[str, ...], int]
"""For each parametrize of a test, by its arguments: which of its values, counted, a cell has."""


def is_on_the_diagonal(cell: Cell, sizes: Cell) -> bool:
    """Say whether a cell of a matrix is one in which values meet for the first time.

    Each lead meets each value of the longest other argument once, with values of the rest that
    differ from lead to lead. A matrix without a lead has each value once at least.
    """
    leads = [arguments for arguments in sizes if arguments[0] in LEADS]
    lead = sum(cell[arguments] for arguments in leads)
    others = sorted(sizes.keys() - leads, key=lambda arguments: (-sizes[arguments], arguments))
    return all(
        cell[arguments] == (cell[others[0]] + turn * lead) % sizes[arguments]
        for turn, arguments in enumerate(others)
        if turn
    )


def make_heavy_what_repeats(items: list[pytest.Item]) -> None:
    """Mark the cells of tests marked matrix that the light tier does without."""
    matrices: dict[str, list[pytest.Function]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("matrix"):
            matrices[item.nodeid.partition("[")[0]].append(item)
    for functions in matrices.values():
        cells = cells_of(functions)
        sizes = {arguments: 1 + max(cell[arguments] for cell in cells) for arguments in cells[0]}
        for function, cell in zip(functions, cells, strict=True):
            if not is_on_the_diagonal(cell, sizes):
                function.add_marker("heavy")


def cells_of(functions: list[pytest.Function]) -> list[Cell]:
    """Return the cell of each item of a test; values are counted in the order they appear in."""
    numbers: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    cells = []
    for function in functions:
        cell: Cell = {}
        for mark in function.iter_markers("parametrize"):
            names = mark.args[0]
            arguments = tuple(names.replace(",", " ").split() if isinstance(names, str) else names)
            values = repr([function.callspec.params[name] for name in arguments])
            cell[arguments] = numbers[arguments].setdefault(values, len(numbers[arguments]))
        cells.append(cell)
    return cells
