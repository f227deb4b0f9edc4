"""A duel is planned before it is measured, and an alarm needs both of its stages."""

import dataclasses
import os
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.commands.progress import PlainProgress
from reports.verdicts.compare_pairs import compare_pairs, suspected_cells
from reports.verdicts.comparison import Comparison
from suite.cases.parse import LEAST_PAIRS
from suite.failures import RunFailed
from suite.pairs.stages import (
    MOST_PAIRS,
    RESERVE,
    BudgetTooSmall,
    pairs_within,
    take_stages,
    this_tree,
)
from suite.records.record import SIDES, Pair, Versus
from suite.records.store import read
from tests.fakes.arena import CELLS, NAMES, Arena, told
from tests.records import a_machine

Paces = dict[str, tuple[float, float]]
BROKEN = ("head.second", CELLS[-1][0].q_len, "Slice", "failed")
NOISE: Paces = {f"{side}.{name}": (1.0, 0.005) for side in SIDES for name in NAMES}


def fought(
    file: Path,
    paces: Paces,
    *,
    budget_s: float | None = None,
    faults: list[tuple[str, int, str, str]] | None = None,
) -> tuple[Comparison, Arena]:
    """Let base and head fight with lanes of these paces, six pairs a stage."""
    with ExitStack() as stack, mock.patch.dict(os.environ, told(faults, NOISE | paces)):
        arena = Arena(stack, file)
        duel = dataclasses.replace(arena.duel, watch=PlainProgress())
        take_stages(
            duel,
            pairs=6,
            budget_s=budget_s,
            gate=0.01,
            suspected=lambda: suspected_cells(read(file), 0.01),
        )
        return compare_pairs(read(file)), arena


def test_the_same_code_has_one_stage_and_no_alarm(tmp_path: Path) -> None:
    comparison, arena = fought(tmp_path / "pairs.jsonl", {})
    assert {line.verdict for line in comparison.lines} <= {"same", "inconclusive"}
    assert not comparison.regressed
    assert {pair.stage for pair in arena.pairs} == {"first"}


def test_a_slower_variant_is_measured_again_alone_before_the_alarm(tmp_path: Path) -> None:
    comparison, arena = fought(tmp_path / "pairs.jsonl", {"head.second": (1.2, 0.005)})
    verdicts = {(line.case, line.variant): line.verdict for line in comparison.lines}
    assert [verdicts[case.id, name] for case, name in CELLS[2:]] == ["slower", "slower"]
    assert "slower" not in [verdicts[case.id, name] for case, name in CELLS[:2]]
    assert comparison.regressed
    stages = Counter((pair.stage, pair.variant) for pair in arena.pairs)
    assert stages["second", "second"] == 2 * 6
    assert stages["first", "first"] == stages["first", "second"] == 2 * 6


def test_the_plan_is_in_the_file_before_the_first_pair(tmp_path: Path) -> None:
    _, arena = fought(tmp_path / "pairs.jsonl", {})
    (place,) = (n for n, record in enumerate(arena.records) if isinstance(record, Versus))
    assert not any(isinstance(record, Pair) for record in arena.records[:place])
    versus = arena.records[place]
    assert isinstance(versus, Versus)
    assert (versus.pairs, versus.gate) == ((6, 12), 0.01)


@pytest.mark.parametrize("budget_s", [None, 60.0])
def test_where_head_has_no_cell_left_all_are_missing_and_none_is_paired(
    budget_s: float | None, tmp_path: Path
) -> None:
    faults = [(f"head.{name}", case.q_len, "FirstCall", "failed") for case, name in CELLS]
    comparison, arena = fought(tmp_path / "pairs.jsonl", {}, faults=faults, budget_s=budget_s)
    assert [line.verdict for line in comparison.lines] == ["missing"] * len(CELLS)
    assert (comparison.notes, arena.pairs) == ([], [])


def test_a_base_in_which_nothing_works_is_no_ground_for_a_verdict(tmp_path: Path) -> None:
    faults = [(f"base.{name}", case.q_len, "Prepare", "failed") for case, name in CELLS]
    with pytest.raises(RunFailed, match="no cell works in base; first failed: on demand"):
        fought(tmp_path / "pairs.jsonl", {}, faults=faults)


def test_a_cell_that_breaks_on_the_way_does_not_cut_the_others_short(tmp_path: Path) -> None:
    comparison, arena = fought(tmp_path / "pairs.jsonl", {}, faults=[BROKEN])
    assert [line.verdict for line in comparison.lines].count("missing") == 1
    assert comparison.notes == []
    assert len(arena.pairs) == 6 * (len(CELLS) - 1)


@pytest.mark.parametrize(
    ("uncommitted", "words"),
    [
        (False, "this tree (0123456789ab)"),
        (True, "this tree (0123456789ab, with uncommitted changes)"),
    ],
)
def test_a_tree_is_named_by_its_commit_and_said_to_be_changed(
    uncommitted: bool, words: str
) -> None:
    code = a_machine().circumstances
    code = msgspec.structs.replace(code, commit="0123456789abcdef", uncommitted=uncommitted)
    assert this_tree(code) == words


def test_a_budget_decides_on_the_number_of_pairs(tmp_path: Path) -> None:
    _, arena = fought(tmp_path / "pairs.jsonl", {}, budget_s=600.0)
    (versus,) = (record for record in arena.records if isinstance(record, Versus))
    assert versus.pairs == (MOST_PAIRS, 2 * MOST_PAIRS)


def test_a_budget_that_holds_too_few_pairs_is_refused_before_any(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    with pytest.raises(BudgetTooSmall, match=r"4 a stage are the least; give \d+ s more"):
        fought(file, {}, budget_s=0.1)
    assert '"record":"pair"' not in file.read_text()


@given(left_s=st.floats(0, 5000), pair_s=st.floats(0.1, 100))
def test_a_plan_fits_its_budget_though_every_cell_were_suspect(
    left_s: float, pair_s: float
) -> None:
    try:
        pairs = pairs_within(left_s, pair_s)
    except BudgetTooSmall:
        assert 2 * LEAST_PAIRS * pair_s > (1 - RESERVE) * left_s
    else:
        assert LEAST_PAIRS <= pairs <= MOST_PAIRS
        assert 2 * pairs * pair_s <= left_s
