"""Variants that look right or fast by a trick are not ranked, and the reason says what they did."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.tables.cells import groups
from reports.tables.row import Row
from suite.cases.case import Dtype
from suite.cases.plan import Plan
from suite.conditions.device import device_for
from suite.lanes.protocol import FindLimits, Foresee, LaneAnswer, RunCanary, Step, Weigh
from suite.race.watch import Silence
from suite.records.fingerprint import run_header
from suite.records.store import Store, read
from suite.run import Run
from tests.effort import the_first
from tests.fakes.cheating import CASE, TRICKS, end_workers
from tests.fakes.in_process import Answer, real_lanes, start_lanes_in_process, take_short_turns
from variants.catalog import Variant

pytestmark = pytest.mark.usefixtures("no_lane_is_left", "one_thread")

EAGER = Variant("eager", "variants.plain.eager")
STORES = {"last", "copies", "address", "content"}
"""A call without a clock shows that some calls take no time, unless their answers differ first."""

REASONS = {
    "rows": ("disagrees", "out, batch 0 head"),
    "garbage": ("disagrees", "out, batch 0 head 2 row 577"),
    "slight": ("disagrees", "out, batch 0 head 2 row 577"),
    "seed": ("disagrees", "out, batch 0"),
    "last": ("disagrees", ""),
    "copies": ("disagrees", "a timed call differs from the judged one"),
    "address": ("disagrees", "a timed call differs from the judged one"),
    "content": ("implausible", "it stores results"),
    "twentieth": ("disagrees", ""),
    "entries": ("disagrees", "batch 2, 4 heads over 2 kv heads, 299 keys: out, batch 1"),
    "groups": ("disagrees", "batch 2, 4 heads over 2 kv heads, 299 keys"),
    "weights": ("disagrees", "299 keys: some tokens far larger, out, batch"),
    "q": ("disagrees", "a call wrote over its input q"),
    "k": ("disagrees", "a call wrote over its input k"),
    "unwritten": ("disagrees", ""),
    "buffer": ("disagrees", "in memory that the caller still holds an answer in"),
    "input": ("disagrees", "q"),
    "type": ("disagrees", "out is a Lazy and not a tensor"),
    "type when timed": ("disagrees", "a timed call answered with a Lazy"),
    "faster": ("implausible", ""),
    "slower": ("implausible", "acts otherwise when it is timed"),
    # On a busy machine the parent's clock may not tell; then the rate is what can't be.
    "slow clock": ("implausible", "it replaces the clock|% of the rate of this device's"),
    "fast clock": ("implausible", "by the parent's clock"),
    "thread": ("implausible", "its threads worked"),
}


_LIMITS: dict[tuple[Dtype, ...], LaneAnswer] = {}


def make_lane(variant: Variant, device: str) -> Answer:
    """Return a real lane; the limits of the machine are measured once for all of them."""
    answer = real_lanes(Foresee | Weigh | RunCanary)(variant, device)

    def answer_again(step: Step) -> LaneAnswer:
        if not isinstance(step, FindLimits):
            return answer(step)
        if step.dtypes not in _LIMITS:
            _LIMITS[step.dtypes] = answer(step)
        return _LIMITS[step.dtypes]

    return answer_again


OF_EACH_KIND = {
    *("rows", "slight", "seed", "copies", "content", "entries", "weights"),
    *("q", "unwritten", "buffer", "type", "faster", "slow clock", "thread"),
}
"""One of the tricks that the same check finds; the others are heavy."""


@pytest.fixture
def _lanes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let lanes be threads that measure the machine, and put the process's timer back."""
    monkeypatch.setattr(time, "perf_counter_ns", time.perf_counter_ns)
    start_lanes_in_process(monkeypatch, make_lane)
    take_short_turns(monkeypatch)
    monkeypatch.setattr("suite.race.steady_turn.MOST_CORE_WAIT", 1e9)  # or a busy machine excuses
    yield
    end_workers()


def race_row(file: Path, variant: Variant) -> Row:
    """Race a variant alone, and return its row of the table."""
    plan = Plan((CASE,), (variant.name,), 1, 0, 60.0)
    header = run_header(plan, [], device_for("cpu"))
    store = Store(file)
    store.append([header])
    Run(plan, [variant], header.policy, store, Silence()).measure()
    store.close()
    ((row,),) = (group.rows for group in groups([read(file)]))
    return row


def is_alike(trick: object) -> bool:
    """Say whether a trick is of a kind that another shows too."""
    return trick not in OF_EACH_KIND


def test_every_trick_has_a_reason_here() -> None:
    assert TRICKS.keys() == REASONS.keys()


@pytest.mark.parametrize("trick", the_first(len(OF_EACH_KIND), sorted(TRICKS, key=is_alike)))
@pytest.mark.usefixtures("_lanes")
def test_a_trick_is_caught_and_said(
    trick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trick == "twentieth":
        # So that 20 calls are timed on a busy machine too, where a call takes over 50 ms.
        monkeypatch.setattr("suite.race.stopping.CAP_S", 1.0)
        monkeypatch.setattr("suite.race.stopping.FEW_SAMPLES", 20)
    variant = Variant("cheat", "tests.fakes.cheating", options={"trick": trick})
    row = race_row(tmp_path / "run.jsonl", variant)
    status, words = REASONS[trick]
    assert row.rank is None
    if trick in STORES and row.status == "implausible":
        return
    assert row.status == status, row.reason
    assert any(part in (row.reason or "") for part in words.split("|"))


@pytest.mark.usefixtures("_lanes")
def test_the_formula_without_a_trick_is_measured(tmp_path: Path) -> None:
    row = race_row(tmp_path / "run.jsonl", EAGER)
    assert row.status == "measured", row.reason
    assert row.rank == 1
