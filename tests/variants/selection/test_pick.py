"""What is picked for a problem, on which ground, and how that is told."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import examples
from tests.variants.selections import (
    HERE,
    SOFTWARE,
    a_candidate,
    a_choice,
    a_cpu,
    a_gpu,
    a_problem,
    a_selection,
    answer,
    choice_of,
    extreme_choices,
)
from variants.catalog import ALIBI, AUTO
from variants.selection.pick import static_order
from variants.selection.relevance import TargetDevice
from variants.selection.schema import Choice, Problem, Selection

AKIN: Any = a_cpu("cpu-akin", name="Akin CPU")
OLD: Any = {"software": SOFTWARE | {"torch": "2.12.0"}}


def selection_of(variant: str, length: int = 512, **changes: Any) -> Selection:
    """Return a selection of one variant at one length."""
    return a_selection(a_choice({variant: 1.0}, length), **changes)


@dataclass(frozen=True)
class Rung:
    """What answers on a ground, and what the question is told beside it."""

    ground: str
    selection: Selection
    told: str


OTHER_SHAPE = a_selection(a_choice({"sdpa_mask": 1.0}, batch=4))
LADDER = [
    Rung(
        "exact",
        selection_of("eager"),
        "512 keys measured on Invented CPU, 2 cores, torch 2.13.0, 2 thr",
    ),
    Rung(
        "interpolated",
        a_selection(a_choice({"flex": 1.0}, 256), a_choice({"flex": 2.0}, 1024)),
        "256 and 1024 keys measured",
    ),
    Rung("extrapolated", selection_of("sdpa_key", 256), "256 keys measured"),
    Rung("stale", selection_of("sdpa_window", **OLD), "stale: torch 2.12.0 and not 2.13.0"),
    Rung("alike", OTHER_SHAPE, "scaled from 4 x 8 heads of 64, 512 keys measured"),
    Rung(
        "stale",
        msgspec.structs.replace(OTHER_SHAPE, threads=3),
        "scaled from 4 x 8 heads of 64, 512 keys measured",
    ),
    Rung("architecture", selection_of("compile", hardware=AKIN), "512 keys measured on Akin CPU"),
    Rung(
        "architecture",
        msgspec.structs.replace(OTHER_SHAPE, hardware=AKIN),
        "scaled from 4 x 8 heads of 64, 512 keys measured on Akin CPU",
    ),
    Rung(
        "static",
        selection_of("flex", hardware=a_cpu("cpu-other", vendor="other")),
        "nothing like it",
    ),
]


@pytest.mark.parametrize("rung", range(len(LADDER)))
def test_the_best_ground_that_there_is_answers(rung: int) -> None:
    best, *worse = LADDER[rung:]
    if rung < 3:  # one selection of this device and software at a time
        worse = [each for each in worse if each.ground not in {"interpolated", "extrapolated"}]
    found = answer(a_problem(), *[each.selection for each in reversed(worse)], best.selection)
    assert found.ground == best.ground
    assert best.told in found.provenance
    if best.ground != "static":
        assert found.variant == best.selection.choices[0].variant == found.ranking[0].variant


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ({"slope_scale": "1/sqrt(d)"}, "4 x 8 heads of 64, slopes over sqrt(d), 512 keys"),
        ({"bias_max": 16.0, "kv_heads": 2}, "4 x 8 heads of 64 (2 kv), bias max 16, 512 keys"),
        ({"scale": "1/d", "layout": "bnhd"}, "4 x 8 heads of 64, scale 1/d, bnhd, 512 keys"),
        ({"q_len": 64}, "4 x 8 heads of 64, 64 queries, 512 keys"),
    ],
)
def test_what_is_unusual_in_the_shape_that_was_measured_is_told(
    measured: dict[str, Any], words: str
) -> None:
    q_len = 32 if "q_len" in measured else 512
    found = answer(
        a_problem(q_len=q_len), a_selection(a_choice({"flex": 1.0}, batch=4, **measured))
    )
    assert found.provenance.startswith(f"scaled from {words} measured")


def test_the_provenance_is_all_that_the_figure_depends_on() -> None:
    found = answer(a_problem(), a_selection(software=SOFTWARE | {"cuda": "13.0"}))
    assert found.provenance == (
        "512 keys measured on Invented CPU, 2 cores, torch 2.13.0, cuda 13.0, 2 threads, "
        "2026-01-02T03:04:05+00:00 of 000000000000; stale: cuda 13.0 and not none"
    )


@pytest.mark.parametrize(
    ("here", "told"),
    [
        (HERE._replace(software=SOFTWARE | {"torch": "2.14.0"}), "torch 2.13.0 and not 2.14.0"),
        (HERE._replace(software=SOFTWARE | {"driver": "570"}), "driver none and not 570"),
        (HERE._replace(threads=1), "threads 2 and not 1"),
    ],
)
def test_other_software_or_threads_here_are_told(here: TargetDevice, told: str) -> None:
    found = answer(a_problem(), selection_of("flex"), here=here)
    assert (found.ground, found.variant) == ("stale", "flex")
    assert found.provenance.endswith(f"; stale: {told}")
    assert found.regret_at_most is None


def test_the_threads_of_the_times_and_those_here_are_both_told() -> None:
    one_core = HERE._replace(hardware=a_cpu("cpu-invented-1cores", cores=1), threads=1)
    found = answer(a_problem(), selection_of("flex"), here=one_core)
    assert (found.ground, found.threads, found.measured_threads) == ("architecture", 1, 2)
    nothing = answer(a_problem(dtype="float16"), selection_of("flex"), here=one_core)
    assert (nothing.ground, nothing.threads, nothing.measured_threads) == ("static", 1, None)


def test_the_lengths_that_an_answer_rests_on_are_told() -> None:
    family = [a_choice({"flex": 1.0}, 256), a_choice({"flex": 2.0}, 1024)]
    lengths = [answer(a_problem(n), a_selection(*family)).measured_lengths for n in (200, 300, 256)]
    assert lengths == [(256,), (256, 1024), (256,)]


def test_the_users_selection_wins_over_a_committed_one() -> None:
    assert answer(a_problem(), selection_of("flex"), selection_of("eager")).variant == "flex"
    stale = [selection_of("flex", **OLD), selection_of("eager", **OLD)]
    assert answer(a_problem(), *stale).variant == "flex"


def test_an_exact_hit_wins_over_the_users_extrapolation() -> None:
    found = answer(a_problem(), selection_of("flex", 64), selection_of("eager"))
    assert (found.ground, found.variant) == ("exact", "eager")


def bounded_selection(**changes: Any) -> Selection:
    """Return a selection with paired intervals."""
    first = a_candidate("eager", 1.0, over_first_ci=(1.0, 1.0))
    other = a_candidate("flex", 1.1, over_first=1.1, over_first_ci=(0.98, 1.2))
    return a_selection(choice_of(a_problem(), first, other), **changes)


def test_a_bound_on_regret_is_given_for_what_was_measured_here_in_time() -> None:
    assert answer(a_problem(), bounded_selection()).regret_at_most == pytest.approx(1 / 0.98 - 1)
    for changes in ({"objective": "memory"}, {"objective": "graph"}, OLD, {"hardware": AKIN}):
        assert answer(a_problem(), bounded_selection(**changes)).regret_at_most is None
    assert answer(a_problem(batch=2), bounded_selection()).regret_at_most is None


def test_the_objective_is_told() -> None:
    assert answer(a_problem(), bounded_selection(objective="memory")).objective == "memory"


def test_one_far_length_says_nothing_where_another_shape_was_measured_around() -> None:
    short = a_choice({"eager": 1.0, "flex": 2.0}, 64)
    other = [a_choice({"flex": 1.0, "eager": 9.0}, each, batch=2) for each in (512, 8192)]
    selection = a_selection(short, *other)
    grounds = [answer(a_problem(each), selection).ground for each in (16, 256, 257, 6000)]
    assert grounds == ["extrapolated", "extrapolated", "alike", "alike"]
    assert answer(a_problem(6000), selection).variant == "flex"
    assert answer(a_problem(6000), a_selection(short)).ground == "extrapolated"


def test_the_nearest_shape_stands_in_with_its_work() -> None:
    near, far = a_choice({"flex": 1.0}, batch=2), a_choice({"eager": 1.0}, batch=16)
    found = answer(a_problem(batch=4), a_selection(far, near))
    assert (found.variant, found.ranking[0].time_ms) == ("flex", 2.0)


def test_a_limit_on_memory_holds_where_nothing_was_measured() -> None:
    family = [a_choice({"eager": 1.0}, 256), a_choice({"eager": 1.0}, 1024)]
    limited = a_selection(*family, max_memory_bytes=1 << 20)
    assert answer(a_problem(), limited).ground == "static"


def test_a_limit_on_memory_holds_for_a_larger_shape_than_was_measured() -> None:
    light = a_candidate("eager", 2.0, peak_bytes=0)  # a mebibyte with what it keeps, flex has four
    choice = choice_of(a_problem(), a_candidate("flex"), light)
    limited = a_selection(choice, max_memory_bytes=5 << 20)
    grounds = [answer(a_problem(batch=batch), limited) for batch in (1, 4, 8)]
    assert [found.variant for found in grounds[:2]] == ["flex", "eager"]
    assert [found.ground for found in grounds] == ["exact", "alike", "static"]


DTYPES = ("float32", "bfloat16", "float16")
SHAPES: list[dict[str, Any]] = [{}, {"q_len": 64}, {"q_len": 1}, {"causal": False}]


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_fixed_order_ends_with_what_takes_everything(
    kind: str, dtype: str, shape: dict[str, Any]
) -> None:
    order = static_order(kind, a_problem(dtype=dtype, **shape))
    assert order[-1] == "eager"
    assert len(set(order)) == len(order)
    assert set(order) <= {*ALIBI} - {AUTO.name}


def first(kind: str, dtype: str, place: int = 0, **shape: Any) -> str:
    """Return what stands first in a fixed order, or at another place."""
    return static_order(kind, a_problem(dtype=dtype, **shape))[place]


@pytest.mark.parametrize("mode", ["forward", "decode", "backward"])
def test_a_fixed_order_of_a_cpu_begins_with_our_kernel(mode: str) -> None:
    for causal in (True, False):
        assert {first("cpu", dtype, causal=causal, mode=mode) for dtype in DTYPES} == {
            "native_window"
        }


def test_in_float32_no_fixed_order_of_a_cpu_has_the_key_row() -> None:
    for shape in SHAPES:
        assert "sdpa_key" not in static_order("cpu", a_problem(**shape))
    assert first("cpu", "float32", place=1) == "sdpa_window"
    assert {first("cpu", dtype, place=1) for dtype in DTYPES[1:]} == {"sdpa_key"}
    assert {first("cuda", dtype) for dtype in DTYPES} == {"flex"}


def test_a_fixed_order_goes_on_with_what_takes_the_problem() -> None:
    assert first("cpu", "bfloat16", place=1, q_len=64) == "sdpa_window"
    assert {first("cpu", dtype, place=1, causal=False) for dtype in DTYPES} == {"sdpa_mask"}


@pytest.mark.parametrize("mode", ["decode", "forward", "backward"])
@pytest.mark.parametrize("queries", [1, 2, 15])
def test_a_step_of_decode_plans_no_windows(mode: str, queries: int) -> None:
    for dtype in DTYPES:
        order = static_order("cpu", a_problem(dtype=dtype, q_len=queries, mode=mode))
        by_key = dtype != "float32" and queries == 1
        assert order[:2] == ("native_window", "sdpa_key" if by_key else "sdpa_mask")
        assert "sdpa_window" not in order
    assert static_order("cuda", a_problem(q_len=queries, mode=mode))[0] == "flex"


def test_sixteen_queries_over_a_cache_are_a_chunk() -> None:
    assert first("cpu", "bfloat16", place=1, q_len=16) == "sdpa_window"


def test_the_fixed_order_is_that_of_the_device() -> None:
    found = answer(a_problem(), here=HERE._replace(hardware=a_gpu()))
    assert (found.ground, found.variant, found.ranking) == ("static", "flex", ())
    assert "flex, sdpa_mask_efficient, compile" in found.provenance
    assert answer(a_problem()).variant == "native_window"


@settings(max_examples=examples(500), deadline=None)
@given(
    own=st.lists(extreme_choices(), min_size=1, max_size=4, unique_by=lambda one: one.problem),
    max_bytes=st.sampled_from([None, 1, 1 << 50]),
    length=st.sampled_from([1, 2, 1000, 1 << 24]),
)
def test_whatever_a_file_may_say_there_is_an_answer(
    own: list[Choice], max_bytes: int | None, length: int
) -> None:
    content = msgspec.json.encode(a_selection(*own, max_memory_bytes=max_bytes))
    try:
        selection = msgspec.json.decode(content, type=Selection)
    except msgspec.ValidationError:
        return
    problem: Problem = a_problem(length)
    found = answer(problem, selection)
    assert found.variant in ALIBI
    assert all(one.score > 0 < one.time_ms for one in found.ranking)
