"""The light tier's part of a matrix: no value is left out, and each lead meets the longest list."""

from itertools import product

import pytest

from tests.effort import Cell, is_on_the_diagonal

pytest_plugins = ["pytester"]


def light(**sizes: int) -> list[Cell]:
    """Return the cells of a matrix of such sizes that the light tier takes."""
    whole: Cell = {(name,): size for name, size in sizes.items()}
    cells: list[Cell] = [
        dict(zip(whole, places, strict=True)) for places in product(*map(range, sizes.values()))
    ]
    return [cell for cell in cells if is_on_the_diagonal(cell, whole)]


@pytest.mark.parametrize(
    "sizes",
    [
        {"name": 6, "dtype": 3, "attack": 8, "score": 3},
        {"variant": 2, "mode": 2, "dtype": 2, "length": 4},
        {"heads": 4, "dtype": 3, "scale": 3},
        {"name": 5, "form": 2, "mode": 2},
        {"mutant": 11, "mode": 2, "dtype": 3},
        {"name": 7},
    ],
    ids=str,
)
def test_every_value_is_in_the_light_tier_and_every_lead_meets_the_longest(
    sizes: dict[str, int],
) -> None:
    cells = light(**sizes)
    for name, size in sizes.items():
        assert {cell[name,] for cell in cells} == set(range(size))
    others = {name: size for name, size in sizes.items() if name not in {"name", "variant"}}
    lead = next((name for name in sizes if name not in others), None)
    if lead and others:
        longest = max(others, key=others.__getitem__)
        met = {(cell[lead,], cell[longest,]) for cell in cells}
        assert len(met) == len(cells) == sizes[lead] * others[longest]


def test_arguments_that_are_given_together_are_one(pytester: pytest.Pytester) -> None:
    """Mutants with equal changes once lacked nine in ten in the light tier."""
    pytester.makeconftest(
        "from tests.effort import make_heavy_what_repeats\n"
        "def pytest_configure(config):\n"
        "    config.addinivalue_line('markers', 'matrix: -')\n"
        "    config.addinivalue_line('markers', 'heavy: -')\n"
        "def pytest_collection_modifyitems(items):\n"
        "    make_heavy_what_repeats(items)\n"
    )
    pytester.makepyfile(
        "import pytest\n"
        "@pytest.mark.matrix\n"
        "@pytest.mark.parametrize('dtype', ['a', 'b', 'c'])\n"
        "@pytest.mark.parametrize('mutant, changes', [(1, {}), (2, {}), (3, {'x': 1}), (4, {})])\n"
        "def test_it(mutant, changes, dtype): print(f'ran {mutant}{dtype}.')\n"
    )
    done = pytester.runpytest_inprocess("-m", "not heavy", "-s", "-p", "no:xdist")
    text = done.stdout.str()
    assert all(f"ran {cell}." in text for cell in ("1a", "2b", "3c", "4a"))
    assert "4 passed" in text
