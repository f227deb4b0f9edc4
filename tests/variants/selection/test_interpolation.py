"""What is expected at a length that nobody measured: straight lines in logs, then the minimum."""

import math

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.variants.selections import a_candidate, a_choice, a_problem, choice_of
from variants.selection.interpolation import ExpectedScore, Forecast, forecast, scale
from variants.selection.schema import Candidate, Choice, Objective

NAMES = ("eager", "sdpa_mask", "sdpa_key", "flex", "sdpa_window")
lengths = st.integers(1, 1 << 18)
factors = st.floats(1e-3, 1e3)
powers = st.floats(0, 3)


def estimate_of(family: list[Choice], length: int, max_bytes: int | None = None) -> Forecast:
    """Return the estimate where there is one."""
    estimate = forecast(family, length, max_bytes, "eager")
    assert estimate is not None
    return estimate


def names_of(estimate: Forecast) -> list[str]:
    """Return the variants in the order of the estimate."""
    return [one.variant for one in estimate.ranking]


def race_choice(length: int, **within: tuple[float, float] | None) -> Choice:
    """Return the choice of the first of candidates that are 5% apart, with paired intervals."""
    candidates = []
    for place, (name, interval) in enumerate(within.items()):
        ratio = 1 + place / 20
        candidates.append(a_candidate(name, ratio, over_first=ratio, over_first_ci=interval))
    return choice_of(a_problem(length), *candidates)


@given(factor=factors, power=powers, short=lengths, long=lengths, length=lengths)
def test_a_power_law_is_followed_exactly_between_and_beyond_and_never_below(
    factor: float, power: float, short: int, long: int, length: int
) -> None:
    assume(short * 1.25 <= long)
    family = [a_choice({"eager": factor * each**power}, each) for each in (short, long)]
    estimate = estimate_of(family, length)
    wanted = factor * max(short, length) ** power
    assert estimate.ranking[0].time_ms == pytest.approx(wanted, rel=1e-6)
    assert estimate.ranking[0].score == pytest.approx(wanted, rel=1e-6)
    between = short < length < long
    measured = length in (short, long)
    kind = "exact" if measured else "interpolated" if between else "extrapolated"
    assert estimate.kind == kind


@given(
    laws=st.dictionaries(st.sampled_from(NAMES), st.tuples(factors, powers), min_size=1),
    length=st.integers(513, 8191),
)
def test_the_variant_with_the_lowest_score_at_the_length_comes_first(
    laws: dict[str, tuple[float, float]], length: int
) -> None:
    def at(each: int) -> dict[str, float]:
        return {name: factor * each**power for name, (factor, power) in laws.items()}

    estimate = estimate_of([a_choice(at(512), 512), a_choice(at(8192), 8192)], length)
    scores = [one.score for one in estimate.ranking]
    assert scores == sorted(scores)
    assert set(names_of(estimate)) == set(laws)
    assert scores[0] == pytest.approx(min(at(length).values()))


def test_where_two_lines_cross_the_choice_changes_between_the_ends() -> None:
    family = [
        a_choice({"eager": 1.0, "flex": 4.0}, 512),
        a_choice({"eager": 64.0, "flex": 16.0}, 4096),
    ]
    assert [estimate_of(family, length).ranking[0].variant for length in (1440, 1456)] == [
        "eager",
        "flex",
    ]


@pytest.mark.parametrize("length", [700, 2048])
def test_a_variant_that_lacks_one_end_is_no_candidate(length: int) -> None:
    both = {"eager": 5.0, "flex": 6.0}
    for family in (
        [a_choice(both | {"sdpa_key": 0.1}, 512), a_choice(both, 1024)],
        [a_choice(both, 512), a_choice(both | {"sdpa_key": 0.1}, 1024)],
    ):
        assert names_of(estimate_of(family, length)) == ["eager", "flex"]


def test_between_lengths_that_share_no_variant_nothing_is_expected() -> None:
    apart = [a_choice({"eager": 1.0}, 512), a_choice({"flex": 1.0}, 1024)]
    assert forecast(apart, 700, None, "eager") is None
    assert names_of(estimate_of(apart, 256)) == ["eager"]
    assert names_of(estimate_of(apart, 2048)) == ["flex"]


@pytest.mark.parametrize("length", [1, 255])
def test_below_the_shortest_length_a_call_is_expected_to_take_what_it_takes_there(
    length: int,
) -> None:
    noisy = [a_choice({"flex": 1.0, "eager": 1.2}, 256), a_choice({"eager": 1.9, "flex": 2.0}, 320)]
    estimate = estimate_of(noisy, length)
    assert (estimate.kind, estimate.lengths) == ("extrapolated", (256,))
    assert [(one.variant, one.time_ms) for one in estimate.ranking] == [
        ("flex", 1.0),
        ("eager", 1.2),
    ]


@pytest.mark.parametrize("length", [100, 256, 300, 512, 4096])
def test_times_and_ratios_come_from_the_paired_score_so_that_none_is_faster_than_the_chosen(
    length: int,
) -> None:
    family = [
        choice_of(
            a_problem(each),
            a_candidate("flex", 1.0, score=1.0, time_ms=2.0, time_ci_ms=(1.0, 4.0)),
            a_candidate("eager", 1.0, score=1.5, time_ms=0.5, time_ci_ms=(0.5, 0.5)),
        )
        for each in (256, 512)
    ]
    chosen, other = estimate_of(family, length).ranking
    assert other.time_ms / chosen.time_ms == pytest.approx(1.5)
    assert chosen.time_ms == pytest.approx(chosen.score)
    if 256 <= length <= 512:
        assert (chosen.time_low_ms, chosen.time_high_ms) == pytest.approx((0.5, 2.0))


def test_where_memory_or_the_device_s_time_is_the_score_times_are_those_of_calls() -> None:
    heavy = a_candidate("flex", 1.0, score=9e6, time_ms=2.0, time_ci_ms=(1.0, 4.0))
    objectives: tuple[Objective, ...] = ("memory", "graph")
    for objective in objectives:
        estimate = forecast([choice_of(a_problem(), heavy)], 512, None, objective)
        assert estimate is not None
        assert estimate.ranking == [pytest.approx(("flex", 9e6, 2.0, 1.0, 4.0))]


def test_an_exact_hit_comes_as_it_was_chosen() -> None:
    raced = a_choice({"flex": 1.0, "sdpa_mask": 1.01, "eager": 1.02})
    incumbent = msgspec.structs.replace(raced, variant="sdpa_mask")
    estimate = estimate_of([incumbent], 512)
    assert names_of(estimate) == ["sdpa_mask", "flex", "eager"]
    assert (estimate.kind, estimate.lengths) == ("exact", (512,))


@pytest.mark.parametrize(("queries", "mode", "times"), [(None, "forward", 9), (1, "decode", 3)])
def test_from_one_length_times_grow_with_the_pairs(
    queries: int | None, mode: str, times: float
) -> None:
    (choice,) = [a_choice({"eager": 1.0}, 512, q_len=queries or 512, mode=mode)]
    estimate = estimate_of([choice], 3 * 512)
    assert estimate.kind == "extrapolated"
    assert estimate.ranking[0].time_ms == pytest.approx(times)


@pytest.mark.parametrize("times", [(1e9, 5e-324), (5e-324, 1e9), (1e-9, 1e9), (1.0, 1.2)])
@pytest.mark.parametrize("length", [1, 1 << 24])
def test_far_beyond_two_lengths_there_is_still_a_number(
    times: tuple[float, float], length: int
) -> None:
    family = [a_choice({"eager": ms}, each) for ms, each in zip(times, (1000, 1250), strict=True)]
    assert 0 < estimate_of(family, length).ranking[0].time_ms < math.inf


def weight_choice(mib: int | None, length: int) -> Choice:
    """Return a choice of flex, which weighs so much, before eager, which weighs 2 MiB."""

    def weight(mebibytes: int | None) -> dict[str, int | None]:
        return {
            "peak_bytes": None if mebibytes is None else (mebibytes - 1) << 20,
            "persistent_bytes": 1 << 20,
        }

    flex = a_candidate("flex", 1.0, **weight(mib))
    return choice_of(a_problem(length), flex, a_candidate("eager", 2.0, **weight(2)))


def test_what_would_take_more_than_the_memory_is_no_candidate() -> None:
    family = [weight_choice(4, 512), weight_choice(64, 2048)]
    assert names_of(estimate_of(family, 512, 3 << 20)) == ["eager"]
    assert names_of(estimate_of(family, 1024, 17 << 20)) == ["flex", "eager"]
    assert names_of(estimate_of(family, 1024, 15 << 20)) == ["eager"]
    assert names_of(estimate_of(family, 4096, 200 << 20)) == ["eager"]
    assert forecast(family, 1024, 1 << 20, "eager") is None
    assert names_of(estimate_of([weight_choice(4, 512)], 1024, 15 << 20)) == ["eager"]


def test_what_was_not_weighed_is_no_candidate_where_memory_is_limited() -> None:
    family = [weight_choice(None, 512), weight_choice(4, 2048)]
    assert names_of(estimate_of(family, 1024, 1 << 30)) == ["eager"]
    assert names_of(estimate_of(family, 1024)) == ["flex", "eager"]


def test_the_regret_is_bounded_by_the_worse_end_s_paired_intervals() -> None:
    family = [
        race_choice(512, eager=(1.0, 1.0), flex=(0.99, 1.2)),
        race_choice(1024, flex=(1.0, 1.0), eager=(1.01, 1.06)),
    ]
    assert estimate_of(family, 512).regret_at_most == pytest.approx(1 / 0.99 - 1)
    assert estimate_of(family, 1024).regret_at_most == 0
    estimate = estimate_of(family, 700)
    assert estimate.ranking[0].variant == "eager"
    assert estimate.regret_at_most == pytest.approx(0.06)


def test_a_variant_that_lacks_one_end_still_counts_as_what_may_be_faster_there() -> None:
    family = [
        race_choice(512, flex=(1.0, 1.0), eager=(1.01, 1.6)),
        race_choice(1024, eager=(1.0, 1.0)),
    ]
    assert names_of(estimate_of(family, 700)) == ["eager"]
    assert estimate_of(family, 700).regret_at_most == pytest.approx(0.6)


def test_without_an_interval_a_rival_or_measured_ends_nothing_bounds_the_regret() -> None:
    unsure, sure = (
        race_choice(512, eager=(1.0, 1.0), flex=None),
        race_choice(1024, eager=(1.0, 1.0)),
    )
    assert estimate_of([unsure], 512).regret_at_most is None
    assert estimate_of([unsure, sure], 700).regret_at_most is None
    assert estimate_of([sure], 512).regret_at_most is None
    assert estimate_of([race_choice(700, eager=(1.0, 1.0)), sure], 2048).regret_at_most is None
    assert estimate_of([sure], 1024).regret_at_most is None


def time_choice(length: int, ms: float, within: tuple[float, float] | None) -> Choice:
    """Return a choice of eager with such an interval."""
    one: Candidate = a_candidate("eager", ms, time_ci_ms=within)
    return choice_of(a_problem(length), one)


def test_intervals_are_interpolated_and_never_carried_beyond() -> None:
    family = [time_choice(512, 1.0, (0.5, 2.0)), time_choice(2048, 16.0, (8.0, 32.0))]
    inside, outside = (estimate_of(family, length).ranking[0] for length in (1024, 4096))
    assert inside == pytest.approx(("eager", 4.0, 4.0, 2.0, 8.0))
    assert (outside.time_low_ms, outside.time_high_ms) == (None, None)
    half = [time_choice(512, 1.0, (0.5, 2.0)), time_choice(2048, 16.0, None)]
    assert estimate_of(half, 1024).ranking[0].time_low_ms is None


def test_more_work_takes_so_many_times_as_long() -> None:
    assert scale(ExpectedScore("eager", 1.0, 2.0, 1.5, 2.5), 3) == ("eager", 3.0, 6.0, 4.5, 7.5)
    assert scale(ExpectedScore("eager", 1.0, 2.0, None, None), 3)[3:] == (None, None)
