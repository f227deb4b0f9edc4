"""Pairs of fresh processes, with lanes that compute nothing: what is recorded, who is blamed."""

import math
import os
import statistics
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import psutil
import pytest

from suite.handle import Launch
from suite.pairs import ROUNDS, Injection
from suite.record import SIDES, Agreement, Fault, Memory
from suite.run import RunFailed
from tests.fakes.arena import CASES, CELLS, NAMES, Arena, a_side, told


def test_priming_checks_and_weighs_both_sides_of_every_cell(tmp_path: Path) -> None:
    with ExitStack() as stack, mock.patch.dict(os.environ, told()):
        arena = Arena(stack, tmp_path / "pairs.jsonl")
        assert arena.duel.prime() == CELLS
        kinds = Counter(
            (type(record).__name__, record.side)
            for record in arena.records
            if isinstance(record, Agreement | Memory | Fault)
        )
    assert kinds == {
        (kind, side): n for kind, n in (("Agreement", 8), ("Memory", 4)) for side in SIDES
    }


def test_a_pair_has_a_record_a_cell_with_all_its_rounds(tmp_path: Path) -> None:
    with ExitStack() as stack, mock.patch.dict(os.environ, told(paces={"head.first": (1.5, 0.0)})):
        arena = Arena(stack, tmp_path / "pairs.jsonl")
        assert arena.duel.take(CELLS, [1, 2, 3], "first") == CELLS
        pairs = arena.pairs
    assert Counter((pair.variant, pair.case, pair.pair_number) for pair in pairs) == {
        (name, case, number): 1 for case, name in CELLS for number in (1, 2, 3)
    }
    assert all(len(pair.rounds) == ROUNDS for pair in pairs)
    for pair in pairs:
        ratio = 1.5 if pair.variant == "first" else 1.0
        assert all(head / base == pytest.approx(ratio) for base, head in pair.rounds)


def test_every_pair_has_processes_of_its_own(tmp_path: Path) -> None:
    paces = {f"{side}.{name}": (1.0, 0.1) for side in SIDES for name in NAMES}
    with ExitStack() as stack, mock.patch.dict(os.environ, told(paces=paces)):
        arena = Arena(stack, tmp_path / "pairs.jsonl")
        arena.duel.take(CELLS, range(1, 6), "first")
        figures = [
            statistics.median(math.log(head / base) for base, head in pair.rounds)
            for pair in arena.pairs
            if pair.variant == "first" and pair.case == CASES[0]
        ]
    assert len(set(figures)) == 5
    assert psutil.Process().children(recursive=True) == []


def test_a_rehearsal_is_not_recorded(tmp_path: Path) -> None:
    with ExitStack() as stack, mock.patch.dict(os.environ, told()):
        arena = Arena(stack, tmp_path / "pairs.jsonl")
        assert arena.duel.take(CELLS, [0], None) == CELLS
        assert arena.records == []


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("SIGKILL", "crashed"),
        ("hang", "timed_out"),
        ("failed", "failed"),
        ("unsupported", "unsupported"),
    ],
)
@pytest.mark.parametrize("step", ["Prepare", "FirstCall", "Slice", "Drop"])
@pytest.mark.parametrize("side", SIDES)
def test_a_side_that_breaks_in_a_pair_costs_its_cell_alone(
    side: str, step: str, kind: str, status: str, tmp_path: Path
) -> None:
    faults = [(f"{side}.second", 24, step, kind)]
    with ExitStack() as stack, mock.patch.dict(os.environ, told(faults)):
        arena = Arena(stack, tmp_path / "pairs.jsonl")
        alive = arena.duel.take(CELLS, [1, 2], "first")
        (fault,) = (record for record in arena.records if isinstance(record, Fault))
        pairs = arena.pairs
    assert alive == [cell for cell in CELLS if cell != (CASES[1], "second")]
    assert (fault.side, fault.status, fault.variant) == (side, status, "second")
    assert Counter((pair.case, pair.variant) for pair in pairs) == dict.fromkeys(alive, 2)


@pytest.mark.parametrize("side", SIDES)
def test_a_cell_that_one_side_has_not_is_not_paired(side: str, tmp_path: Path) -> None:
    faults = [(f"{side}.first", 16, "FirstCall", "unsupported")]
    with ExitStack() as stack, mock.patch.dict(os.environ, told(faults)):
        arena = Arena(stack, tmp_path / "pairs.jsonl")
        assert arena.duel.prime() == CELLS[1:]


def test_a_variant_that_base_lacks_is_checked_on_heads_side_alone(tmp_path: Path) -> None:
    with ExitStack() as stack, mock.patch.dict(os.environ, told()):
        arena = Arena(stack, tmp_path / "pairs.jsonl", base=a_side("base", ("second",)))
        assert arena.duel.prime() == [cell for cell in CELLS if cell[1] == "second"]
        sides = {
            record.side
            for record in arena.records
            if isinstance(record, Agreement) and record.variant == "first"
        }
    assert sides == {"head"}


def test_a_slowdown_is_planted_in_one_cell_of_the_head(tmp_path: Path) -> None:
    slowed = CELLS[2]
    with ExitStack() as stack, mock.patch.dict(os.environ, told()):
        arena = Arena(stack, tmp_path / "pairs.jsonl", injection=Injection(slowed, 0.05))
        arena.duel.take(CELLS, [1], "first")
        ratios = {
            (pair.case, pair.variant): pair.rounds[0][1] / pair.rounds[0][0] for pair in arena.pairs
        }
    assert ratios == {cell: pytest.approx(1.05 if cell == slowed else 1.0) for cell in CELLS}


def test_a_side_whose_lanes_cannot_start_is_named(tmp_path: Path) -> None:
    broken = a_side(
        "base", launch=Launch((sys.executable, "-c", "raise SystemExit('no torch here')"))
    )
    with ExitStack() as stack, mock.patch.dict(os.environ, told()):
        arena = Arena(stack, tmp_path / "pairs.jsonl", base=broken)
        with pytest.raises(RunFailed, match=r"the base's lanes can't start: .*no torch here"):
            arena.duel.prime()


def test_a_case_foreseen_not_to_fit_is_not_prepared(tmp_path: Path) -> None:
    faults = [("head.first", 16, "Foresee", "unsupported"), ("head.first", 16, "Prepare", "exit")]
    with ExitStack() as stack, mock.patch.dict(os.environ, told(faults)):
        arena = Arena(stack, tmp_path / "pairs.jsonl")
        assert arena.duel.prime() == CELLS[1:]
        (fault,) = (record for record in arena.records if isinstance(record, Fault))
    assert fault.step == "Foresee"
