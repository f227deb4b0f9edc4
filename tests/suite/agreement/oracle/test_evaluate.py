"""The oracle says the same of a case in portions as of the whole, and stays small."""

import math
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from suite.agreement.budget import BudgetCheck
from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.agreement.oracle.portions import check_bytes, portions
from suite.cases.case import Case
from suite.memory.weigh import weigh_on_cpu
from tests.effort import examples
from tests.suite.answers import (
    CPU,
    budget_check,
    case_of,
    change_at,
    spoil,
    variant,
    with_gradients,
)
from variants.catalog import Answers
from variants.problem import Attention

pytestmark = pytest.mark.usefixtures("one_thread", "small_heap")

TWO_GIB = 2 << 30


def test_the_oracle_is_the_same_in_one_block_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(mode="backward", kv_heads=2, q_len=100, batch=2)
    whole = budget_check(variant("eager", case), case)
    monkeypatch.setattr("suite.agreement.oracle.portions.BLOCK_BYTES", 8 * 2 * 8 * 128 * 7)
    blocks = budget_check(variant("eager", case), case)
    assert whole.agrees
    assert blocks.agrees


@st.composite
def grouped_cases(draw_from: st.DrawFn) -> Case:
    """Draw a small case in half precision: float32 sums in another order move the budget."""
    heads, kv_heads = draw_from(st.sampled_from([(4, 4), (6, 2), (5, 1), (3, 3)]))
    kv_len = draw_from(st.integers(1, 40))
    return case_of(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=16,
        q_len=draw_from(st.integers(1, kv_len)),
        kv_len=kv_len,
        batch=draw_from(st.integers(1, 3)),
        dtype=draw_from(st.sampled_from(["bfloat16", "float16"])),
        mode=draw_from(st.sampled_from(["forward", "backward"])),
        causal=draw_from(st.booleans()),
        layout=draw_from(st.sampled_from(["bhnd", "bnhd"])),
    )


def budget_check_in_portions(attention: Attention, case: Case, heads: int) -> BudgetCheck:
    """Check with room for so many query heads at a time."""
    with patch("suite.agreement.oracle.portions.PORTION_BYTES", heads * bytes_a_head(case)):
        return budget_check(attention, case)


def bytes_a_head(case: Case) -> int:
    """Return what the oracle reckons for a query head apart from its blocks of rows."""
    with patch.multiple("suite.agreement.oracle.portions", PORTION_BYTES=1, BLOCK_BYTES=0):
        return check_bytes(spec_of(case, CPU))


SOME_HEADS = st.integers(1, 19)


@settings(deadline=None, max_examples=examples(100))
@given(case=grouped_cases(), heads=SOME_HEADS)
def test_a_right_answer_agrees_in_portions_of_any_size(case: Case, heads: int) -> None:
    right = variant("eager", case)
    assert budget_check(right, case).agrees
    found = budget_check_in_portions(right, case, heads)
    assert found.agrees, found


@settings(deadline=None, max_examples=examples(100))
@given(
    case=grouped_cases(), heads=SOME_HEADS, data=st.data(), factor=st.sampled_from([3, math.nan])
)
def test_a_mistake_in_one_row_is_found_in_the_same_head_in_whatever_portion_it_is(
    case: Case, heads: int, data: st.DataObject, factor: float
) -> None:
    ends = (case.batch, case.kv_heads, case.q_len)
    spot = tuple(data.draw(st.integers(0, end - 1)) for end in ends)
    change = change_at(spot, lambda values: values * factor)
    wrong = spoil(change, case)
    if case.mode == "backward":
        wrong = with_gradients({data.draw(st.sampled_from(["dq", "dk", "dv"])): change}, case)
    whole, parts = budget_check(wrong, case), budget_check_in_portions(wrong, case, heads)
    assert parts.agrees == whole.agrees
    if not whole.agrees:
        assert head_and_row(parts)[0] == head_and_row(whole)[0]
        assert len({head_and_row(found)[1] for found in (parts, whole)} - {""}) <= 1


def head_and_row(found: BudgetCheck) -> tuple[str, str]:
    """Split what is named worst; whether its row or its whole head is, the noise may decide."""
    head, _, row = found.where.partition(" row ")
    return head, row


@settings(deadline=None, max_examples=examples(100))
@given(
    heads=st.sampled_from([(1, 1), (2, 1), (8, 8), (32, 8), (71, 1), (112, 112)]),
    kv_len=st.integers(1, 1 << 17),
    q_len=st.integers(1, 1 << 17),
    head_dim=st.integers(1, 256),
    batch=st.integers(1, 50),
)
def test_portions_cover_every_head_once_and_in_order(
    heads: tuple[int, int], kv_len: int, q_len: int, head_dim: int, batch: int
) -> None:
    case = case_of(
        heads=heads[0],
        kv_heads=heads[1],
        q_len=q_len,
        kv_len=kv_len,
        head_dim=head_dim,
        batch=batch,
        causal=False,
    )
    spec = spec_of(case, CPU)
    marks = torch.arange(batch * heads[0]).view(batch, heads[0])
    parts = list(portions(spec))
    assert torch.cat([one.of_queries(marks).flatten() for one in parts]).equal(marks.flatten())
    groups = {(one.heads.stop - one.heads.start) * heads[1] for one in parts}
    assert groups == {(one.kv_heads.stop - one.kv_heads.start) * heads[0] for one in parts}
    assert check_bytes(spec) < TWO_GIB


def cheap(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
    """Answer wrongly in next to no time or memory; its gradients have the right shapes."""
    last = (k + v)[:, :, -q.shape[2] :]
    return q + last.repeat_interleave(q.shape[1] // k.shape[1], dim=1)


def peak_of_a_check(case: Case, question: Answers = "alibi") -> int:
    """Return the most that a check allocates at once beside inputs and answers."""
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    answers = inputs.q.nbytes
    if case.mode == "backward":
        answers = 2 * (inputs.q.nbytes + inputs.k.nbytes)

    def run_check() -> object:
        with patch("suite.agreement.judge.MOST_DRAWS", 2):  # each frees what the last one took
            return check(cheap, spec, inputs, answers=question, seed=0)

    return weigh_on_cpu(run_check, cheap, ()).peak_bytes - answers


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("kv_heads", [8, 1])
@pytest.mark.parametrize("question", ["alibi", "alibi_rope", "rope", "t5_bias"])
@pytest.mark.parametrize(
    "lengths",
    [
        (200, 200),
        (8, 2048),
        *(pytest.param(each, marks=pytest.mark.heavy) for each in ((1024, 1024), (8, 8192))),
    ],
    ids=str,
)
def test_a_check_takes_no_more_than_it_reckons(
    question: Answers, lengths: tuple[int, int], kv_heads: int, mode: str, dtype: str
) -> None:
    q_len, kv_len = lengths
    case = case_of(kv_heads=kv_heads, q_len=q_len, kv_len=kv_len, mode=mode, dtype=dtype)
    reckoned = check_bytes(spec_of(case, CPU))
    assert reckoned / 5 < peak_of_a_check(case, question) <= reckoned


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim"),
    [(6, 6, 64), (2, 1, 256)],
    ids=["many heads", "a kv head that serves more wide heads than fit"],
)
def test_a_check_of_131072_keys_takes_less_than_two_gib(
    heads: int, kv_heads: int, head_dim: int
) -> None:
    case = case_of(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        q_len=2,
        kv_len=1 << 17,
        mode="backward",
        dtype="bfloat16",
    )
    assert peak_of_a_check(case) <= check_bytes(spec_of(case, CPU)) < TWO_GIB
