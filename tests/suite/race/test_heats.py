"""Variants that don't fit side by side race in smaller groups, the baseline in each."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.cases.case import Case
from suite.cases.plan import Plan
from suite.conditions.device import device_for
from suite.lanes.protocol import MemoryForecast
from suite.race.race import USABLE_SHARE, side_by_side
from suite.race.watch import Silence
from suite.records.fingerprint import run_header
from suite.records.record import Fault, Time
from suite.records.store import Store, read
from suite.run import Run
from tests.fakes.crowded_lane import CrowdedLane, Room
from tests.fakes.in_process import believe_invented_times, start_lanes_in_process
from variants.catalog import Variant

ROOM = 1000
NEEDS = st.dictionaries(
    st.sampled_from(["no_bias", "eager", "compile", "flex", "sdpa_mask", "sdpa_key"]),
    st.none() | st.integers(0, ROOM),
)


def forecasts(needs: dict[str, int | None]) -> dict[str, MemoryForecast]:
    return {name: MemoryForecast(need, ROOM) for name, need in needs.items()}


@given(NEEDS)
def test_every_variant_is_in_one_group_and_the_baseline_in_all(
    needs: dict[str, int | None],
) -> None:
    groups = side_by_side(forecasts(needs))
    others = [name for name in chain.from_iterable(groups) if name != "no_bias"]
    assert sorted(others) == sorted(name for name in needs if name != "no_bias")
    assert all(("no_bias" in group) == ("no_bias" in needs) for group in groups)
    assert bool(groups) == bool(needs)


@given(NEEDS)
def test_a_group_of_several_fits(needs: dict[str, int | None]) -> None:
    assumed = max((need for need in needs.values() if need is not None), default=0)
    for group in side_by_side(forecasts(needs)):
        total = sum(assumed if needs[name] is None else needs[name] or 0 for name in group)
        others = [name for name in group if name != "no_bias"]
        assert total <= USABLE_SHARE * ROOM or len(others) <= 1


def test_what_fits_together_races_together() -> None:
    needs: dict[str, int | None] = {"no_bias": 100, "eager": 500, "flex": None, "sdpa_mask": 200}
    assert side_by_side(forecasts(needs)) == [
        ["no_bias", "eager", "sdpa_mask"],
        ["no_bias", "flex"],
    ]
    small: dict[str, int | None] = {"no_bias": 10, "eager": 50, "flex": None}
    assert side_by_side(forecasts(small)) == [["no_bias", "eager", "flex"]]


VARIANTS = (
    Variant("no_bias", "no_bias", answers="no_bias"),
    Variant("small", "small"),
    Variant("large", "large"),
    Variant("larger", "larger"),
)


Race = Callable[..., tuple[list[Time], list[Fault]]]


@pytest.fixture
def race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Race:
    """Return a function that runs the four over one case on a device of 1000 bytes."""

    def run(*, foreseen: bool, **needs: int) -> tuple[list[Time], list[Fault]]:
        room = Room(ROOM, needs, foreseen)
        believe_invented_times(monkeypatch)
        start_lanes_in_process(
            monkeypatch, lambda variant, _: CrowdedLane(variant.module, room).answer
        )
        case = Case(heads=1, kv_heads=1, head_dim=8, q_len=16, kv_len=16, dtype="float32")
        plan = Plan((case,), tuple(variant.name for variant in VARIANTS), 1, 0, 60.0)
        header = run_header(plan, [], device_for("cpu"))
        store = Store(tmp_path / "run.jsonl")
        store.append([header])
        Run(plan, VARIANTS, header.policy, store, Silence()).measure()
        store.close()
        records = read(store.path).records
        times = [record for record in records if isinstance(record, Time)]
        return times, [record for record in records if isinstance(record, Fault)]

    return run


@pytest.mark.parametrize("foreseen", [True, False], ids=["foreseen", "not foreseen"])
def test_all_are_measured_though_they_do_not_fit_side_by_side(foreseen: bool, race: Race) -> None:
    times, faults = race(foreseen=foreseen, no_bias=50, small=100, large=700, larger=800)
    assert faults == []
    assert {time.variant for time in times} == {"no_bias", "small", "large", "larger"}
    races = {time.race for time in times if time.variant == "no_bias"}
    assert len(races) > 1
    assert all(time.race in races for time in times)


def test_only_what_does_not_fit_beside_the_baseline_alone_is_out_of_memory(race: Race) -> None:
    times, faults = race(foreseen=False, no_bias=50, small=100, large=700, larger=2000)
    assert [(fault.variant, fault.status) for fault in faults] == [("larger", "out_of_memory")]
    assert {time.variant for time in times} == {"no_bias", "small", "large"}
