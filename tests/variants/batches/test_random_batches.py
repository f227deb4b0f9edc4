"""Batches that are drawn are answered rightly or declined."""

from itertools import accumulate, pairwise
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import examples
from tests.variants.batches.forms import TAKE_ALL, assert_right
from tests.variants.batches.oracle import answer
from tests.variants.batches.problems import padding, problem
from tests.variants.formula import UNCOMPILED
from variants.attention import alibi_attention
from variants.problem import Unsupported


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the arguments and the shapes of a call."""
    kv_len, batch = draw(st.integers(1, 150)), draw(st.integers(1, 3))
    drawn: dict[str, Any] = {"kv_len": kv_len, "batch": batch, "causal": draw(st.booleans())}
    form = draw(st.sampled_from(["key_padding", "cu_seqlens", "kv_lens", "whole"]))
    places = st.integers(0, kv_len)
    if form == "key_padding":
        real = draw(st.lists(st.tuples(places, places), min_size=batch, max_size=batch))
        drawn["key_padding"] = padding(kv_len, *map(sorted, real))  # type: ignore[arg-type]
    elif form == "kv_lens":
        lengths = draw(st.lists(places, min_size=batch, max_size=batch))
        drawn["kv_lens"] = torch.tensor(lengths)
    elif form == "cu_seqlens":
        ends = [0, *sorted(draw(st.lists(places, max_size=6)))]
        drawn |= {"cu_seqlens": torch.tensor(ends), "batch": 1, "q_len": kv_len}
        if draw(st.booleans()):
            queries = [draw(st.integers(0, end - first)) for first, end in pairwise(ends)]
            drawn["cu_seqlens_k"] = drawn["cu_seqlens"]
            drawn["cu_seqlens"] = torch.tensor([0, *accumulate(queries)])
            drawn["q_len"] = draw(st.integers(max(1, sum(queries)), kv_len))
        return drawn
    if draw(st.booleans()):
        drawn["q_offset"] = draw(st.integers(-40, kv_len + 40))
    q_lens = st.integers(1, 90 if "q_offset" in drawn else kv_len)
    drawn["q_len"] = draw(q_lens)
    if draw(st.booleans()):
        drawn["window"] = draw(st.tuples(st.integers(-1, 80), st.integers(-1, 80)))
    return drawn | {"value_dim": draw(st.sampled_from([8, 16, 40]))}


@given(batch=batches(), name=st.sampled_from(UNCOMPILED))
@settings(max_examples=examples(200), deadline=None)
def test_random_batches_are_answered_rightly_or_declined(batch: dict[str, Any], name: str) -> None:
    inputs, arguments = problem(**batch)
    wanted = answer(*inputs, **arguments)
    try:
        out, log_sum_exp = alibi_attention(*inputs, **arguments, variant=name, return_lse=True)
    except Unsupported:
        assert name not in TAKE_ALL
        return
    assert_right(out, wanted.out)
    assert_right(log_sum_exp, wanted.log_sum_exp)
