"""Before pairs: both sides are checked and weighed, or it is said why not; lanes are fakes."""

import dataclasses
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from reports.commands.progress import PlainProgress
from suite.failures import RunFailed
from suite.lanes.handle import Launch
from suite.pairs.warm_up import warm_up
from suite.records.record import SIDES, Agreement, Fault, Memory
from tests.fakes.arena import CELLS, Arena, a_side
from tests.suite.pairs.conftest import MakeArena


def test_the_warm_up_checks_and_weighs_both_sides_of_every_cell(arena: MakeArena) -> None:
    made = arena()
    assert warm_up(made.duel).cells == CELLS
    kinds = Counter(
        (type(record).__name__, record.side)
        for record in made.records
        if isinstance(record, Agreement | Memory | Fault)
    )
    assert kinds == {
        (kind, side): n for kind, n in (("Agreement", 8), ("Memory", 4)) for side in SIDES
    }


def test_both_sides_are_checked_on_the_same_inputs_and_rows(arena: MakeArena) -> None:
    made = arena()
    warm_up(made.duel)
    draws = {
        side: [
            (record.case, record.variant, record.stage, record.inputs_seed, record.rows_seed)
            for record in made.records
            if isinstance(record, Agreement) and record.side == side
        ]
        for side in SIDES
    }
    assert draws["base"] == draws["head"]
    assert len({seed for *_, seed in draws["base"]}) == len(draws["base"])


def test_whoever_watches_learns_how_far_the_warm_up_is(
    arena: MakeArena, capsys: pytest.CaptureFixture[str]
) -> None:
    made = arena([("head.second", 24, "FirstCall", "unsupported")])
    warm_up(dataclasses.replace(made.duel, watch=PlainProgress()))
    begun, *lines = capsys.readouterr().err.splitlines()
    assert begun == "4 cells to measure"
    assert [line.partition("] ")[2] for line in lines] == [
        *(f"warm-up, {case.id}: 1 measured" for case, _ in CELLS[:3]),
        f"warm-up, {CELLS[3][0].id}: 0 measured, second unsupported",
    ]


@pytest.mark.parametrize("side", SIDES)
def test_a_cell_that_one_side_has_not_is_not_paired(side: str, arena: MakeArena) -> None:
    made = arena([(f"{side}.first", 16, "FirstCall", "unsupported")])
    assert warm_up(made.duel).cells == CELLS[1:]


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_cell_that_one_check_alone_finds_wrong_is_not_paired(
    stage: str, arena: MakeArena
) -> None:
    made = arena([("head.second", 24, f"Check {stage}", "disagrees")])
    assert warm_up(made.duel).cells == CELLS[:3]


def test_a_variant_that_base_lacks_is_checked_on_heads_side_alone(arena: MakeArena) -> None:
    made = arena(base=a_side("base", ("second",)))
    assert warm_up(made.duel).cells == [cell for cell in CELLS if cell[1] == "second"]
    sides = {
        record.side
        for record in made.records
        if isinstance(record, Agreement) and record.variant == "first"
    }
    assert sides == {"head"}


def test_a_side_whose_lanes_cannot_start_is_named(tmp_path: Path) -> None:
    launch = Launch((sys.executable, "-S", "-c", "raise SystemExit('no torch here')"))
    broken = a_side("base", launch=launch)
    with ExitStack() as stack:
        arena = Arena(stack, tmp_path / "pairs.jsonl", base=broken)
        with pytest.raises(RunFailed, match=r"the base's lanes can't start: .*no torch here"):
            warm_up(arena.duel)


def test_a_case_foreseen_not_to_fit_is_not_prepared(arena: MakeArena) -> None:
    made = arena(
        [("head.first", 16, "Foresee", "unsupported"), ("head.first", 16, "Prepare", "exit")]
    )
    assert warm_up(made.duel).cells == CELLS[1:]
    (fault,) = (record for record in made.records if isinstance(record, Fault))
    assert fault.step == "Foresee"
