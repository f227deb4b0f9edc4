"""The oracles of `alibi_rope` and `t5_bias` are their formulas, and see each mistake in them."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from suite.agreement.budget import BudgetCheck
from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.agreement.oracle.evaluate import TRUTH, Formula
from suite.agreement.oracle.formula import rotate
from suite.agreement.oracle.portions import portions
from suite.cases.case import Case
from tests.suite.answers import CPU, case_of, each_dtype, variant
from variants.catalog import Answers
from variants.problem import Attention

pytestmark = pytest.mark.usefixtures("one_thread")

CHUNK: dict[str, object] = {"q_len": 100, "kv_len": 190, "kv_heads": 2}
BOTH_WAYS: dict[str, object] = {"causal": False, "q_len": 190, "kv_len": 190}


def t5_bucket(relative: int, *, causal: bool) -> int:
    """Return T5's bucket of key less query, as its paper's code counts."""
    buckets, ahead = (32, 0) if causal else (16, 16 * (relative > 0))
    distance = max(0, -relative) if causal else abs(relative)
    exact = buckets // 2
    if distance < exact:
        return ahead + distance
    share = math.log(distance / exact) / math.log(128 / exact)
    return ahead + min(buckets - 1, exact + int(share * (buckets - exact)))


def t5_distance(relative: int, *, causal: bool) -> int:
    """Return the least distance whose bucket is that of key less query."""
    wanted = t5_bucket(relative, causal=causal)
    step = 1 if relative > 0 else -1
    return next(d for d in range(4096) if t5_bucket(step * d, causal=causal) == wanted)


def truth(case: Case, answers: Answers) -> Tensor:
    """Return the oracle's output of a case: [batch, heads, q_len, head_dim] float64."""
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    formula = Formula(spec, inputs, answers, torch.arange(case.q_len))
    (portion,) = portions(spec)
    return formula.evaluate(portion, TRUTH)["out"]


@pytest.mark.parametrize("answers", ["alibi_rope", "t5_bias"])
@pytest.mark.parametrize("changes", [CHUNK, BOTH_WAYS], ids=["chunk", "bidirectional"])
def test_a_row_of_the_oracle_is_the_formula_key_by_key(
    answers: Answers, changes: dict[str, object]
) -> None:
    case = case_of(dtype="float32", **changes)
    inputs, wanted = draw(case, 0, "before", CPU), truth(case, answers)
    q, k, v = (each[0].double() for each in (inputs.q, inputs.k, inputs.v))
    cached = case.kv_len - case.q_len
    for head, row in ((0, case.q_len - 1), (3, case.q_len // 2), (1, 3)):
        kv_head, position = head * case.kv_heads // case.heads, row + cached
        scores = torch.full((case.kv_len,), -math.inf, dtype=torch.float64)
        for key in range(position + 1 if case.causal else case.kv_len):
            one, other, far = q[head, row], k[kv_head, key], abs(position - key)
            if answers == "alibi_rope":
                one = rotate(one[None, None, None], torch.tensor([position]))[0, 0, 0]
                if key >= cached:
                    other = rotate(other[None, None, None], torch.tensor([key]))[0, 0, 0]
            else:
                far = t5_distance(key - position, causal=case.causal)
            scores[key] = case.scale_value * (one @ other) - float(inputs.slopes[head]) * far
        exact = torch.softmax(scores, 0) @ v[kv_head]
        assert torch.allclose(wanted[0, head, row], exact, rtol=1e-9, atol=1e-12)


def budget_check(attention: Attention, case: Case, answers: Answers) -> BudgetCheck:
    inputs = draw(case, 0, "before", CPU)
    return check(attention, spec_of(case, CPU), inputs, answers=answers, seed=0)


def with_distances(case: Case, distance_of: Callable[[Tensor], Tensor]) -> Attention:
    """Return attention with the bias of changed distances; arguments are key less query."""
    spec = spec_of(case, CPU)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        queries = torch.arange(case.kv_len - case.q_len, case.kv_len)
        relative = torch.arange(case.kv_len)[None] - queries[:, None]
        bias = -slopes[:, None, None] * distance_of(relative)
        mask = bias.masked_fill(relative > 0, -math.inf) if case.causal else bias
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask[None], scale=spec.scale, enable_gqa=case.heads != case.kv_heads
        )

    return attention


def as_t5(relative: Tensor, *, causal: bool = True, most: int = 10_000) -> Tensor:
    distances = [t5_distance(-d, causal=causal) for d in range(int(relative.abs().max()) + 1)]
    return torch.tensor(distances)[relative.abs().clamp(max=most)]


T5_MISTAKES: dict[str, Callable[[Tensor], Tensor]] = {
    "no buckets": torch.abs,
    "half of the buckets": lambda relative: as_t5(relative, causal=False),
    "no bias": torch.zeros_like,
    "a last bucket that begins at 64": lambda relative: as_t5(relative, most=64),
    "one too far": lambda relative: as_t5(relative - 1),
}


@pytest.mark.matrix
@each_dtype
@pytest.mark.parametrize("mistake", T5_MISTAKES)
def test_a_wrong_bucket_is_caught_by_at_least_four_budgets(mistake: str, dtype: str) -> None:
    case = case_of(dtype=dtype, **CHUNK)
    assert budget_check(with_distances(case, as_t5), case, "t5_bias").agrees
    wrong = budget_check(with_distances(case, T5_MISTAKES[mistake]), case, "t5_bias")
    assert 4 <= wrong.excess < math.inf


@pytest.mark.matrix
@each_dtype
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("answers", ["alibi", "rope", "no_bias", "t5_bias"])
def test_alibi_with_rope_is_neither_alone(answers: Answers, mode: str, dtype: str) -> None:
    case = case_of(dtype=dtype, mode=mode, q_len=96, kv_len=96)
    attention = variant("alibi_rope", case)
    assert budget_check(attention, case, "alibi_rope").agrees
    assert 4 <= budget_check(attention, case, answers).excess < math.inf


def test_t5_s_bias_follows_slopes_that_change() -> None:
    case = case_of(dtype="float32", **CHUNK)
    attention, inputs = variant("t5_bias", case), draw(case, 0, "before", CPU)
    first = attention(*inputs.arguments)
    inputs.slopes.copy_(inputs.slopes.flip(0))
    assert not torch.allclose(first, attention(*inputs.arguments), atol=1e-3)
    assert check(attention, spec_of(case, CPU), inputs, answers="t5_bias", seed=0).agrees
