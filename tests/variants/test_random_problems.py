"""No wrong answer without a status: random problems end in agreement, or in a word why not.

Every variant goes the way that a lane takes it, refusals included. The problems are the same for
all variants and on every machine.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from suite.agreement.inputs import draw, slopes_of, spec_of
from suite.agreement.judge import check
from suite.cases.case import DECODE_STEPS, DTYPES, LAYOUTS, MODES, Case
from suite.clocks.timer import Bench
from suite.lanes.lane import Lane
from suite.lanes.prepared_case import Subject
from suite.lanes.protocol import Check, CheckResult, Done, FirstCall, LaneAnswer, Prepare, Refusal
from tests.effort import length
from tests.variants.same_draws import same_draws
from tests.variants.test_variants import (
    CPU,
    DECLINES,
    GENERAL,
    ON_CPU,
    ROUNDED,
    SLOW_TO_COMPILE,
    SLOW_TO_SEARCH,
    declines,
    traits_of,
)
from variants.catalog import BASELINE, Variant
from variants.plain.eager import prepare as eager

HEAD_DIMS = (64, 80, 96, 112, 128, 8, 17, 40)
EDGES = (1, 63, 64, 65, 127, 128, 129, 255, 256, 257)
LONGEST = length(300, light=100)

COMPILED = [variant for variant in ON_CPU if variant.name in SLOW_TO_COMPILE]
INTERPRETED = [
    variant for variant in ON_CPU if variant.name not in SLOW_TO_COMPILE | SLOW_TO_SEARCH
]
KNOWN = {BASELINE.name, *GENERAL, *(name for name, _ in DECLINES)}

the_same_everywhere = same_draws(30)
all_kinds = settings(the_same_everywhere, max_examples=80)
a_few = settings(the_same_everywhere, max_examples=3, phases=[Phase.generate])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Spare these many small calls the wait for a second core that others use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@st.composite
def problems(draw_value: st.DrawFn, modes: tuple[str, ...] = MODES) -> Case:
    """Draw a problem that has a meaning: any heads, lengths around tile edges, chunks, steps."""

    def choice(*values: Any) -> Any:
        return draw_value(st.sampled_from(values))

    mode = choice(*modes)
    heads = choice(*range(1, 13))
    causal = mode == "decode" or choice(True, True, False)
    first = DECODE_STEPS if mode == "decode" else 1
    kv_len = draw_value(
        st.sampled_from([edge for edge in EDGES if first <= edge <= LONGEST])
        | st.integers(first, LONGEST)
    )
    most = kv_len - first + 1 if causal else LONGEST
    q_len = choice(min(kv_len, most), 1, draw_value(st.integers(1, most)))
    return Case(
        heads=heads,
        kv_heads=choice(*(count for count in range(1, heads + 1) if heads % count == 0)),
        head_dim=choice(*HEAD_DIMS),
        q_len=q_len,
        kv_len=kv_len,
        dtype=choice(*DTYPES),
        batch=choice(1, 2),
        mode=mode,
        causal=causal,
        bias_max=choice(8.0, 16.0),
        slope_scale=choice("1", "1/sqrt(d)"),
        scale=choice("1/sqrt(d)", "1/d"),
        layout=choice(*LAYOUTS) if mode == "decode" else choice("bhnd", "bnhd"),
        logit_scale=choice(0.5, 1.0, 2.0, 3.0, 4.0),
    )


def answers_of(variant: Variant, case: Case) -> list[LaneAnswer]:
    """Return what a lane of the variant says of the case: one refusal, or both checks."""
    lane = Lane(Subject(variant.module, variant.options, answers=variant.answers), Bench(CPU))
    for step in (Prepare(case, inputs_seed=0), FirstCall()):
        answer = lane.answer(step)
        if not isinstance(answer, Done):
            return [answer]
    return [lane.answer(Check("before", 1)), lane.answer(Check("after", 2))]


def error_limit(variant: Variant, case: Case, budget: float) -> float:
    """Return the error that is no mistake: the budget, but for two kinds of bias.

    A key row in float32 adds slope * distance to scores, and a mask in half precision is true to
    half an eps of slope * distance. The latter shows where fewer queries than keys are, because
    most keys are far from every query then, and where scores are large.
    """
    eps: float = torch.finfo(getattr(torch, case.dtype)).eps
    farthest = case.kv_len * slopes_of(case).max().item()
    if (variant.name, case.dtype) in ROUNDED:
        return 2 * budget + 2 * eps * farthest
    if variant.name == "sdpa_mask" and case.dtype != "float32":
        return budget + eps / 2 * farthest
    return budget


def assert_may_decline(variant: Variant, case: Case, refused: Refusal) -> None:
    """Say that the table has the variant decline the case in these words.

    A variant that the table does not have may decline any case, if it says why.
    """
    assert refused.status == "unsupported", refused
    if variant.name in KNOWN:
        reasons = [DECLINES.get((variant.name, trait)) for trait in traits_of(case)]
        assert any(words in refused.reason for _, words in filter(None, reasons)), refused
        return
    assert refused.reason


def assert_right_or_declined(variant: Variant, case: Case) -> None:
    """Say that a variant declines what it may, and answers all else rightly."""
    answers = answers_of(variant, case)
    if declines(variant, case) or isinstance(answers[0], Refusal):
        (refused,) = answers
        assert isinstance(refused, Refusal), refused
        assert_may_decline(variant, case, refused)
        return
    for found in answers:
        assert isinstance(found, CheckResult), found
        assert found.error <= error_limit(variant, case, found.budget), found


@pytest.mark.parametrize("variant", INTERPRETED, ids=lambda variant: variant.name)
@the_same_everywhere
@given(case=problems())
def test_a_random_problem_is_answered_rightly_or_declined(variant: Variant, case: Case) -> None:
    assert_right_or_declined(variant, case)


@pytest.mark.heavy
@pytest.mark.parametrize("variant", COMPILED, ids=lambda variant: variant.name)
@a_few
@given(case=problems(("forward", "backward")))
def test_so_are_a_few_by_what_is_compiled(variant: Variant, case: Case) -> None:
    assert_right_or_declined(variant, case)


def kinds_of(case: Case) -> set[str]:
    """Name what a problem is an example of."""
    kinds = {
        "a chunk": 1 < case.q_len < case.kv_len,
        "one query": case.q_len == 1 < case.kv_len,
        "one token": case.q_len == case.kv_len == 1,
        "more queries than keys": case.q_len > case.kv_len,
        "bidirectional": not case.causal,
        "one kv head": case.kv_heads == 1 < case.heads,
        "grouped heads": 1 < case.kv_heads < case.heads,
        "heads no power of two": bool(case.heads & (case.heads - 1)),
        "an edge": case.kv_len in EDGES[1:],
    }
    plain = {case.mode, case.dtype, case.layout, f"head_dim {case.head_dim}"}
    return plain | {name for name, holds in kinds.items() if holds}


def test_the_random_problems_are_of_every_kind() -> None:
    met: set[str] = set()

    @all_kinds
    @given(problems())
    def meet(case: Case) -> None:
        met.update(kinds_of(case))

    meet()
    numbered = {f"head_dim {head_dim}" for head_dim in HEAD_DIMS}
    named = {"a chunk", "one query", "one token", "more queries than keys", "bidirectional"}
    named |= {"one kv head", "grouped heads", "heads no power of two", "an edge"}
    assert met == {*MODES, *DTYPES, *LAYOUTS} | numbered | named


@the_same_everywhere
@given(case=problems(("forward",)), data=st.data())
def test_one_wrong_row_of_a_random_problem_is_reported(case: Case, data: st.DataObject) -> None:
    sizes = (case.batch, case.heads, case.q_len)
    batch, head, row = (data.draw(st.integers(0, size - 1)) for size in sizes)
    spec = spec_of(case, CPU)
    attention = eager(spec)

    def wrong_once(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        out = attention(q, k, v, slopes)
        out[batch, head, row] *= 0.5
        return out

    found = check(wrong_once, spec, draw(case, 0, "before", CPU), answers="alibi", seed=0)
    assert not found.agrees, found
