"""Pairs of fresh lanes that compute nothing: what is recorded, and who is blamed."""

import math
import os
import statistics
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pytest

from suite.lanes.handle import Handle
from suite.pairs.duel import ROUNDS, VISITS, Duel, Injection
from suite.race.steady_turn import Patience, Turn
from suite.records.record import SIDES, Fault
from tests.fakes.arena import CASES, CELLS, NAMES, Arena
from tests.fakes.in_process import start_invented_lanes_in_process
from tests.fakes.lane import environment
from tests.suite.fates import children
from tests.suite.pairs.conftest import MakeArena

STEPS = ("Prepare", "FirstCall", "Slice", "Drop")
STATUS = {
    "SIGKILL": "crashed",
    "hang": "timed_out",
    "failed": "failed",
    "unsupported": "unsupported",
}


def test_a_pair_has_a_record_a_cell_with_all_its_rounds(arena: MakeArena) -> None:
    made = arena(paces={"head.first": (1.5, 0.0)})
    assert made.duel.take(CELLS, [1, 2, 3], "first") == CELLS
    pairs = made.pairs
    assert Counter((pair.variant, pair.case, pair.pair_number) for pair in pairs) == {
        (name, case, number): 1 for case, name in CELLS for number in (1, 2, 3)
    }
    assert all(len(pair.rounds) == VISITS * ROUNDS for pair in pairs)
    for pair in pairs:
        ratio = 1.5 if pair.variant == "first" else 1.0
        assert all(head / base == pytest.approx(ratio) for base, head in pair.rounds)


def test_which_side_of_a_round_comes_first_is_drawn(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[str] = []
    take = Duel._turn

    def note(duel: Duel, lane: Handle, patience: Patience) -> Turn:
        turns.append(lane.variant.module.partition(".")[0])
        return take(duel, lane, patience)

    monkeypatch.setattr(Duel, "_turn", note)
    arena().duel.take(CELLS, [1, 2, 3], "first")
    rounds = list(zip(turns[::2], turns[1::2], strict=True))
    assert {frozenset(each) for each in rounds} == {frozenset(SIDES)}
    assert 0.25 < [first for first, _ in rounds].count("base") / len(rounds) < 0.75


def test_every_pair_has_lanes_of_its_own(arena: MakeArena, monkeypatch: pytest.MonkeyPatch) -> None:
    paces = {f"{side}.{name}": (1.0, 0.1) for side in SIDES for name in NAMES}
    made = arena(paces=paces)
    started = start_invented_lanes_in_process(monkeypatch, paces=paces)
    made.duel.take(CELLS, range(1, 6), "first")
    assert Counter(started) == dict.fromkeys(paces, 5)
    figures = [
        statistics.median(math.log(head / base) for base, head in pair.rounds)
        for pair in made.pairs
        if pair.variant == "first" and pair.case == CASES[0]
    ]
    assert len(set(figures)) == 5


def test_a_lane_that_is_a_process_and_is_killed_costs_its_cell_and_is_replaced(
    tmp_path: Path,
) -> None:
    faults = [("head.second", 24, "Slice", "SIGKILL")]
    before = children()
    with ExitStack() as stack, mock.patch.dict(os.environ, environment(faults)):
        stack.enter_context(mock.patch("suite.race.checks.outside_clock.check_turn"))
        arena = Arena(stack, tmp_path / "pairs.jsonl")
        alive = arena.duel.take(CELLS, [1], "first")
        assert children() <= before
    (fault,) = (record for record in arena.records if isinstance(record, Fault))
    assert (fault.side, fault.status, fault.variant) == ("head", "crashed", "second")
    assert alive == CELLS[:3]
    assert {(pair.case, pair.variant) for pair in arena.pairs} == set(alive)


def test_a_rehearsal_is_not_recorded(arena: MakeArena) -> None:
    made = arena()
    assert made.duel.take(CELLS, [0], None) == CELLS
    assert made.records == []


@pytest.mark.parametrize("kind", STATUS)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("side", SIDES)
def test_a_side_that_breaks_in_a_pair_costs_its_cell_alone(
    side: str, step: str, kind: str, arena: MakeArena
) -> None:
    made = arena([(f"{side}.second", 24, step, kind)])
    alive = made.duel.take(CELLS, [1, 2], "first")
    (fault,) = (record for record in made.records if isinstance(record, Fault))
    assert alive == [cell for cell in CELLS if cell != (CASES[1], "second")]
    assert (fault.side, fault.status, fault.variant) == (side, STATUS[kind], "second")
    assert Counter((pair.case, pair.variant) for pair in made.pairs) == dict.fromkeys(alive, 2)


def test_a_slowdown_is_planted_in_one_cell_of_the_head(arena: MakeArena) -> None:
    slowed = CELLS[2]
    made = arena(injection=Injection(slowed, 0.05))
    made.duel.take(CELLS, [1], "first")
    ratios = {
        (pair.case, pair.variant): pair.rounds[0][1] / pair.rounds[0][0] for pair in made.pairs
    }
    assert ratios == {cell: pytest.approx(1.05 if cell == slowed else 1.0) for cell in CELLS}
