"""Each method's attention is its formula, up to the trained length, beyond, and in gradients."""

import pytest
import torch
from torch import Tensor

from suite.quality.methods import METHODS, PositionMethod, Positions
from suite.quality.positions.attention import attend
from suite.quality.positions.relative_bias import causal_bias
from tests.suite.quality.positions import formulas

pytestmark = pytest.mark.usefixtures("one_thread")

TRAINED, HEADS, HEAD_DIM = 8, 2, 8
NEAR, SHORT, LONG = 2e-5, 8, 20
EVERY_TEST = [(method, change) for method in METHODS for change in ("none", *method.changes)]
each_test = pytest.mark.parametrize(
    ("method", "change"), EVERY_TEST, ids=[f"{m.name}, {change}" for m, change in EVERY_TEST]
)


def draw_tensors(length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return q, k, v [heads, length, head_dim] and a table of T5, all float64."""
    draws = torch.Generator().manual_seed(length)
    q, k, v = torch.randn(3, HEADS, length, HEAD_DIM, generator=draws).double()
    return q, k, v, torch.randn(32, HEADS, generator=draws).double()


def table_of(method: PositionMethod, table: Tensor) -> Tensor | None:
    return table if method.learned_bias else None


def answer(q: Tensor, k: Tensor, v: Tensor, positions: Positions, table: Tensor | None) -> Tensor:
    """Return the attention of a test in float32, in the formula's shape and dtype."""
    bias = None if table is None else causal_bias(table.float(), q.shape[1])
    with torch.no_grad():
        return attend(q.float()[None], k.float()[None], v.float()[None], positions, bias)[
            0
        ].double()


def is_near(one: Tensor, other: Tensor) -> bool:
    return float((one - other).detach().abs().max()) < NEAR


@pytest.mark.parametrize("length", [SHORT, LONG])
@each_test
def test_a_test_computes_the_formula_of_its_method(
    method: PositionMethod, change: str, length: int
) -> None:
    positions = method.positions(TRAINED, change)  # type: ignore[arg-type]
    q, k, v, table = draw_tensors(length)
    wanted = formulas.attention(q, k, v, positions, table_of(method, table))
    assert is_near(answer(q, k, v, positions, table_of(method, table)), wanted)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_training_computes_the_formula_and_its_gradients(method: PositionMethod) -> None:
    positions = method.positions(TRAINED)
    q, k, v, table = draw_tensors(SHORT)
    exact = [each.clone().requires_grad_() for each in (q, k, v)]
    exact_q, exact_k, exact_v = exact
    exact_table = table.clone().requires_grad_()
    used_table = table_of(method, exact_table)
    wanted = formulas.attention(exact_q, exact_k, exact_v, positions, used_table)
    dout = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1)).double()
    narrow = [each.float()[None].requires_grad_() for each in (q, k, v)]
    narrow_table = table.float().requires_grad_()
    bias = causal_bias(narrow_table, SHORT) if method.learned_bias else None
    out = attend(narrow[0], narrow[1], narrow[2], positions, bias)
    assert is_near(out[0].double(), wanted)
    of_exact, of_narrow = [*exact], [*narrow]
    if method.learned_bias:
        of_exact.append(exact_table)
        of_narrow.append(narrow_table)
    truths = torch.autograd.grad(wanted, of_exact, dout)
    for truth, gradient in zip(
        truths, torch.autograd.grad(out, of_narrow, dout.float()[None]), strict=True
    ):
        assert is_near(gradient.double().view(truth.shape), truth)


@pytest.mark.parametrize(
    "method",
    [each for each in METHODS if each.slopes or each.rotation],
    ids=lambda method: method.name,
)
def test_positions_beyond_the_trained_length_reach_the_method(method: PositionMethod) -> None:
    """What a model would answer if positions stopped, or began again, at the trained length."""
    positions = method.positions(TRAINED)
    q, k, v, table = draw_tensors(LONG)
    right = answer(q, k, v, positions, table_of(method, table))
    alone = answer(q[:, TRAINED:], k[:, TRAINED:], v[:, TRAINED:], positions, None)
    assert not is_near(right[:, TRAINED:], alone)
    shorter = answer(q[:, :TRAINED], k[:, :TRAINED], v[:, :TRAINED], positions, None)
    assert is_near(right[:, :TRAINED], shorter)


def test_a_learned_bias_is_that_of_the_last_bucket_from_113_tokens_on() -> None:
    table = torch.arange(32.0)[:, None]
    row = causal_bias(table, 300)[0, -1].flip(0)
    assert row[:16].tolist() == list(range(16))
    assert row[112] == 30
    assert set(row[113:].tolist()) == {31.0}


@each_test
def test_no_query_sees_a_later_key(method: PositionMethod, change: str) -> None:
    positions = method.positions(TRAINED, change)  # type: ignore[arg-type]
    q, k, v, table = draw_tensors(LONG)
    before = answer(q, k, v, positions, table_of(method, table))
    k[:, -1], v[:, -1] = 100.0, 100.0
    after = answer(q, k, v, positions, table_of(method, table))
    assert torch.equal(before[:, :-1], after[:, :-1])
