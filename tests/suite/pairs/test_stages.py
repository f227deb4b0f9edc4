"""A duel is planned before it is measured, and an alarm needs both of its stages."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.commands.progress import PlainProgress
from reports.verdicts.compare_pairs import compare_pairs, suspected_cells
from reports.verdicts.comparison import Comparison
from suite.cases.parse import LEAST_PAIRS
from suite.cases.plan import pairs_plan
from suite.cases.request import Request
from suite.cases.sweeps import PAIRED_SWEEP
from suite.failures import RunFailed
from suite.pairs import stages
from suite.pairs.sides import head_side
from suite.pairs.stages import (
    MOST_PAIRS,
    RESERVE,
    BudgetTooSmall,
    measure_pairs,
    pairs_within,
    refuse_small,
    take_stages,
    this_tree,
    with_step_limit,
)
from suite.records.record import SIDES, Pair, Versus
from suite.records.store import read
from tests.fakes.arena import CELLS, NAMES, Arena
from tests.fakes.lane import Paces, PlannedFault
from tests.records import a_machine, a_plan
from tests.suite.pairs.conftest import MakeArena

BROKEN = ("head.second", CELLS[-1][0].q_len, "Slice", "failed")
NOISE = {f"{side}.{name}": (1.0, 0.005) for side in SIDES for name in NAMES}


class TickingClock:
    """A clock on which a second passes between two readings."""

    def __init__(self) -> None:
        self._seconds = itertools.count()

    def monotonic(self) -> float:
        """Return the seconds so far."""
        return float(next(self._seconds))


@pytest.fixture(autouse=True)
def _each_rehearsal_takes_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a rehearsed pair take a second of the budget, and the warm-up another."""
    monkeypatch.setattr(stages, "time", TickingClock())


def fight(
    arena: MakeArena,
    paces: Paces | None = None,
    *,
    budget_s: float | None = None,
    faults: Iterable[PlannedFault] = (),
) -> tuple[Comparison, Arena]:
    """Let base and head fight with lanes of these paces, six pairs a stage."""
    made = arena(faults, NOISE | dict(paces or {}))
    take_stages(
        dataclasses.replace(made.duel, watch=PlainProgress()),
        pairs=6,
        budget_s=budget_s,
        gate=0.01,
        find_suspects=lambda: suspected_cells(read(made.file), 0.01),
    )
    return compare_pairs(read(made.file)), made


def test_the_same_code_has_one_stage_and_no_alarm(arena: MakeArena) -> None:
    comparison, made = fight(arena)
    assert {line.verdict for line in comparison.lines} <= {"same", "inconclusive"}
    assert not comparison.regressed
    assert {pair.stage for pair in made.pairs} == {"first"}


def test_a_slower_variant_is_measured_again_alone_before_the_alarm(arena: MakeArena) -> None:
    comparison, made = fight(arena, {"head.second": (1.2, 0.005)})
    verdicts = {(line.case, line.variant): line.verdict for line in comparison.lines}
    assert [verdicts[case.id, name] for case, name in CELLS[2:]] == ["slower", "slower"]
    assert "slower" not in [verdicts[case.id, name] for case, name in CELLS[:2]]
    assert comparison.regressed
    stages = Counter((pair.stage, pair.variant) for pair in made.pairs)
    assert stages["second", "second"] == 2 * 6
    assert stages["first", "first"] == stages["first", "second"] == 2 * 6


def test_the_plan_is_in_the_file_before_the_first_pair(arena: MakeArena) -> None:
    _, made = fight(arena)
    (place,) = (n for n, record in enumerate(made.records) if isinstance(record, Versus))
    assert not any(isinstance(record, Pair) for record in made.records[:place])
    versus = made.records[place]
    assert isinstance(versus, Versus)
    assert (versus.pairs, versus.gate) == ((6, 12), 0.01)


@pytest.mark.parametrize("budget_s", [None, 60.0])
def test_where_head_has_no_cell_left_all_are_missing_and_none_is_paired(
    budget_s: float | None, arena: MakeArena
) -> None:
    faults = [(f"head.{name}", case.q_len, "FirstCall", "failed") for case, name in CELLS]
    comparison, made = fight(arena, faults=faults, budget_s=budget_s)
    assert [line.verdict for line in comparison.lines] == ["missing"] * len(CELLS)
    assert (comparison.notes, made.pairs) == ([], [])


def test_a_base_in_which_nothing_works_is_no_ground_for_a_verdict(arena: MakeArena) -> None:
    faults = [(f"base.{name}", case.q_len, "Prepare", "failed") for case, name in CELLS]
    with pytest.raises(RunFailed, match="no cell works in base; first failed: on demand"):
        fight(arena, faults=faults)


def test_a_cell_that_breaks_on_the_way_does_not_cut_the_others_short(arena: MakeArena) -> None:
    comparison, made = fight(arena, faults=[BROKEN])
    assert [line.verdict for line in comparison.lines].count("missing") == 1
    assert comparison.notes == []
    assert len(made.pairs) == 6 * (len(CELLS) - 1)


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


def test_a_budget_decides_on_the_number_of_pairs(arena: MakeArena) -> None:
    _, made = fight(arena, budget_s=600.0)
    (versus,) = (record for record in made.records if isinstance(record, Versus))
    assert versus.pairs == (MOST_PAIRS, 2 * MOST_PAIRS)


def test_a_budget_that_holds_too_few_pairs_is_refused_before_any(
    arena: MakeArena, tmp_path: Path
) -> None:
    with pytest.raises(BudgetTooSmall, match=r"a pair takes 1 s here and 4 a stage are the least"):
        fight(arena, budget_s=9.0)
    assert '"record":"pair"' not in (tmp_path / "pairs.jsonl").read_text()


def test_a_budget_that_a_rehearsal_shows_to_be_too_small_leaves_no_file(
    arena: MakeArena, tmp_path: Path
) -> None:
    duel = arena().duel
    plan = a_plan(CELLS[0][0], variants=["eager"])
    path = tmp_path / "refused.jsonl"
    with pytest.raises(BudgetTooSmall, match="a pair takes 1 s here"):
        measure_pairs(
            head_side({}, "base"),
            head_side({}, "head"),
            a_machine(plan),
            None,
            path,
            duel.watch,
            pairs=6,
            budget_s=9.0,
            gate=0.01,
            find_suspects=list,
        )
    assert not path.exists()


def test_a_budget_that_no_machine_could_keep_is_refused_before_a_lane_starts() -> None:
    plan = pairs_plan(Request(sweep=PAIRED_SWEEP).plan("cpu"))
    cells = len(plan.cases) * len(plan.variants)
    with pytest.raises(BudgetTooSmall, match=rf"--budget 10s: {cells} cells in 4 pairs a stage"):
        refuse_small(10.0, plan)
    refuse_small(300.0, plan)


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


def test_a_step_of_a_comparison_with_a_budget_takes_a_third_of_it_at_most() -> None:
    plan = a_plan(CELLS[0][0])
    assert with_step_limit(plan, 60.0).step_timeout_s == min(20.0, plan.step_timeout_s)
    assert with_step_limit(plan, 1e6) == plan
