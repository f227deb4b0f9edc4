"""torch knows the operator's gradients, which refuse what they can't give."""

import re
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from tests.variants.native.gradient_problem import (
    GradientProblem,
    by_torch,
    draw_problem,
    truth,
    worst_error,
)
from variants.native import torch_operator
from variants.native.kernel_arguments import CAUSAL, EVERY_KEY
from variants.native.kernel_call import attend
from variants.problem import Unsupported, alibi_slopes


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ([[0, 0, 30, 5, 40, 10], [0, 30, 40, 0, 70, 30]], "keys"),
        ([[0, 20, 30, 40, 30, 0], [0, 0, 21, 0, 40, 0]], "queries"),
    ],
)
def test_sequences_that_share_rows_have_no_gradients(lines: list[list[int]], name: str) -> None:
    problem, sequences = draw_problem(q_len=70, kv_len=70), torch.tensor(lines)
    problem.q.requires_grad_()
    out = by_torch(problem, sequences=sequences)[0]
    with pytest.raises(ValueError, match=f"share {name}, so their gradients"):
        out.sum().backward()


def test_sequences_of_two_batch_entries_share_nothing_and_have_slopes_of_their_own() -> None:
    problem = draw_problem(q_len=70, kv_len=70, batch=2)
    slopes = torch.stack([alibi_slopes(4), alibi_slopes(4) * 0.1])
    sequences = torch.tensor([[0, 0, 70, 0, 70, 0], [1, 0, 70, 0, 70, 0]])
    leaf = slopes.clone().requires_grad_()
    out = by_torch(problem, sequences=sequences, slopes=leaf)[0]
    (found,) = torch.autograd.grad(out, leaf, problem.d_out)
    assert worst_error(found.double(), truth(problem, slopes=slopes)[3]) < 1e-4


def test_torch_knows_the_gradients() -> None:
    problem, slopes = draw_problem(), alibi_slopes(4).requires_grad_()
    d_lse = torch.randn(problem.q.shape[:3])
    leaves = [part.requires_grad_() for part in problem[:3]]
    results = by_torch(problem, slopes=slopes, wants_lse=True)
    found = torch.autograd.grad(results, [*leaves, slopes], (problem.d_out, d_lse))
    wanted = truth(problem, d_lse=d_lse)
    for some, right in zip(found, wanted, strict=True):
        assert worst_error(some.double(), right) < 2e-5


@pytest.mark.parametrize("leaf", [0, 1, 2, 3])
def test_what_needs_no_gradient_gets_none(leaf: int) -> None:
    problem = draw_problem(q_len=70, kv_len=70)
    inputs = [*problem[:3], alibi_slopes(4)]
    inputs[leaf].requires_grad_()
    q, k, v, slopes = inputs
    by_torch(GradientProblem(q, k, v, problem.d_out), slopes=slopes)[0].sum().backward()
    assert [part.grad is None for part in inputs] == [i != leaf for i in range(4)]


def test_the_gradient_of_the_log_sum_exp_alone_is_right() -> None:
    problem = draw_problem(q_len=70, kv_len=70)
    problem.q.requires_grad_()
    (found,) = torch.autograd.grad(by_torch(problem, wants_lse=True)[1].sum(), problem.q)
    nothing = problem._replace(d_out=torch.zeros_like(problem.d_out))
    wanted = truth(nothing, d_lse=torch.ones(problem.q.shape[:3]))[0]
    assert worst_error(found.double(), wanted) < 2e-5


def test_torch_s_own_checks_pass() -> None:
    problem = GradientProblem(
        *(part.requires_grad_() for part in draw_problem(q_len=70, kv_len=90))
    )
    torch.library.opcheck(
        cast(Any, torch_operator.operator()),
        (*problem[:3], alibi_slopes(4), 0.2, EVERY_KEY, 0, None, None, None, True),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
    plain = draw_problem(q_len=70, kv_len=90)
    done = attend(*plain[:3], alibi_slopes(4), 0.2, CAUSAL, wants_log_sum_exp=True)
    inputs = (plain.d_out, None, *plain[:3], alibi_slopes(4), done.out, done.log_sum_exp)
    torch.library.opcheck(
        torch.ops.alibi_bench.native_window_backward.default,
        (*inputs, 0.2, EVERY_KEY, 0, None),
        test_utils=("test_schema", "test_faketensor"),
    )


def test_transforms_and_checkpoints_give_the_same_gradient() -> None:
    problem, slopes = draw_problem(q_len=90, kv_len=90), alibi_slopes(4)
    attention = torch_operator.operator()

    def loss(q: Tensor) -> Tensor:
        out = attention(
            q, problem.k, problem.v, slopes, 0.2, EVERY_KEY, 0, None, None, None, False
        )[0]
        return (out * problem.d_out).sum()

    leaf = problem.q.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(loss(leaf), leaf)
    assert torch.equal(torch.func.grad(loss)(problem.q), wanted)
    recomputed = cast(Tensor, checkpoint(loss, leaf, use_reentrant=False))
    assert torch.equal(torch.autograd.grad(recomputed, leaf)[0], wanted)
    graph = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.equal(torch.autograd.grad(graph(leaf), leaf)[0], wanted)


def test_the_operations_of_five_products_are_counted() -> None:
    problem = draw_problem(q_len=70, kv_len=90, dim=32, value_dim=16)
    problem.q.requires_grad_()
    out = by_torch(problem)[0]
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == 2 * 4 * 70 * 90 * (3 * 32 + 2 * 16)


PENALIZED: list[Callable[[Tensor], Tensor]] = [
    lambda out: out.square().sum(),
    lambda out: out.sum(),
]


@pytest.mark.parametrize("loss", PENALIZED, ids=["square", "linear"])
def test_a_second_gradient_is_refused(loss: Callable[[Tensor], Tensor]) -> None:
    problem = draw_problem(q_len=70, kv_len=70)
    problem.q.requires_grad_()
    out = by_torch(problem)[0]
    (first,) = torch.autograd.grad(loss(out), problem.q, create_graph=True)
    with pytest.raises(Unsupported, match="native_window's gradient has no gradient in turn"):
        (out.mean() + first.square().sum()).backward()


def of_grad_of_grad(loss: Callable[[Tensor], Tensor], q: Tensor) -> Tensor:
    found: Tensor = torch.func.grad(lambda q: torch.func.grad(loss)(q).sum())(q)
    return found


def of_backward_of_grad(loss: Callable[[Tensor], Tensor], q: Tensor) -> Tensor:
    leaf = q.clone().requires_grad_()
    torch.func.grad(loss)(leaf).square().sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize(
    "derived", [of_grad_of_grad, of_backward_of_grad], ids=lambda derived: derived.__name__
)
def test_transforms_refuse_a_second_gradient_too(
    derived: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor],
) -> None:
    problem = draw_problem(q_len=70, kv_len=70)
    with pytest.raises(Unsupported, match=r"one gradient at a time in torch\.func; eager has more"):
        derived(lambda q: by_torch(problem._replace(q=q))[0].sum(), problem.q)


def test_a_gradient_inside_of_another_variables_gradient_is_right() -> None:
    problem = draw_problem(q_len=70, kv_len=70)

    def with_weight(q: Tensor) -> Tensor:
        out = by_torch(problem._replace(q=q))[0]
        found: Tensor = torch.func.grad(lambda weight: (weight * out * problem.d_out).sum())(
            torch.tensor(1.0)
        )
        return found

    found = torch.func.grad(with_weight)(problem.q)
    assert worst_error(found.double(), truth(problem)[0]) < 2e-5


def test_a_forward_mode_derivative_is_refused() -> None:
    problem = draw_problem(q_len=70, kv_len=70)
    with pytest.raises(
        Unsupported, match="native_window has no forward-mode derivative; eager has"
    ):
        torch.func.jvp(lambda q: by_torch(problem._replace(q=q))[0], (problem.q,), (problem.q,))


REFUSED: dict[str, tuple[Callable[[list[Any]], None], str]] = {
    "a short gradient": (
        lambda inputs: inputs.__setitem__(0, inputs[0][:, :, 1:]),
        "d_out is torch.float32 [1, 4, 69, 32]: give [1, 4, 70, 32]",
    ),
    "another output": (
        lambda inputs: inputs.__setitem__(6, inputs[6].double()),
        "out is torch.float64 [1, 4, 70, 32]: give [1, 4, 70, 32]",
    ),
    "sums of other rows": (
        lambda inputs: inputs.__setitem__(7, inputs[7][:, :2]),
        "log_sum_exp is torch.float32 [1, 2, 70]: give float32 [1, 4, 70]",
    ),
    "a gradient of other sums": (
        lambda inputs: inputs.__setitem__(1, inputs[7].half()),
        "d_log_sum_exp is torch.float16 [1, 4, 70]: give float32 [1, 4, 70]",
    ),
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_the_kernel_would_read_out_of_bounds_is_refused(change: str) -> None:
    problem = draw_problem(q_len=70, kv_len=70)
    torch_operator.operator()
    done = attend(*problem[:3], alibi_slopes(4), 0.2, CAUSAL, wants_log_sum_exp=True)
    inputs = [problem.d_out, None, *problem[:3], alibi_slopes(4), done.out, done.log_sum_exp]
    alter, words = REFUSED[change]
    alter(inputs)
    with pytest.raises(ValueError, match=re.escape(words)):
        torch.ops.alibi_bench.native_window_backward(*inputs, 0.2, EVERY_KEY, 0, None)
