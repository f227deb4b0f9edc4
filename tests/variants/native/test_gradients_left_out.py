"""No row of a gradient loses more by the pairs that are left out than is certified."""

from collections.abc import Callable, Iterator

import pytest
import torch

from tests.variants.native.gradient_problem import (
    NAMES,
    GradientProblem,
    call_gradients,
    draw_problem,
)
from variants.native import kernel_arguments
from variants.native.kernel_arguments import BIDIRECTIONAL, CAUSAL, Reach
from variants.native.kernel_call import attend
from variants.native.kernel_gradients import gradients


def late_loss(problem: GradientProblem) -> GradientProblem:
    d_out = problem.d_out.clone()
    d_out[:, :, : -d_out.shape[2] // 4] = 0
    return problem._replace(d_out=d_out)


def loss_of_some_tokens(problem: GradientProblem) -> GradientProblem:
    d_out = torch.zeros_like(problem.d_out)
    d_out[:, :, ::97] = problem.d_out[:, :, ::97]
    return problem._replace(d_out=d_out)


def far_values_that_are_larger(problem: GradientProblem) -> GradientProblem:
    v = problem.v.clone()
    v[:, :, : v.shape[2] // 2] *= 100
    return problem._replace(v=v)


def a_far_key_that_wins(problem: GradientProblem) -> GradientProblem:
    q, k = problem.q.clone(), problem.k.clone()
    q[:, :, -100:] = 3
    k[:, :, 5] = 4
    return problem._replace(q=q, k=k)


def values_that_are_all_alike(problem: GradientProblem) -> GradientProblem:
    return problem._replace(v=torch.ones_like(problem.v))


def large_norms(problem: GradientProblem) -> GradientProblem:
    return problem._replace(q=problem.q * 4, k=problem.k * 4)


def no_values(problem: GradientProblem) -> GradientProblem:
    return problem._replace(v=torch.zeros_like(problem.v))


def one_large_gradient(problem: GradientProblem) -> GradientProblem:
    d_out = problem.d_out.clone()
    d_out[:, :, -1] *= 1e6
    return problem._replace(d_out=d_out)


ATTACKS: list[Callable[[GradientProblem], GradientProblem]] = [
    late_loss,
    loss_of_some_tokens,
    far_values_that_are_larger,
    a_far_key_that_wins,
    values_that_are_all_alike,
    large_norms,
    no_values,
    one_large_gradient,
]


def one_direction(problem: GradientProblem) -> GradientProblem:
    """Every score is its bound, and all terms of dv add up."""
    d_out, one = torch.zeros_like(problem.d_out), torch.zeros_like(problem.q)
    d_out[..., 0] = one[..., 0] = 1
    return problem._replace(q=one, k=one, d_out=d_out)


def loss_where_values_differ(problem: GradientProblem) -> GradientProblem:
    """Only far queries add to dk, because near values are alike; dv is full of near ones."""
    v = problem.v.clone()
    v[:, :, : v.shape[2] // 2] = v[:, :, :1]
    return problem._replace(v=v)


def values_that_differ_far_away(problem: GradientProblem) -> GradientProblem:
    """Only far keys add to dq."""
    v = problem.v.clone()
    v[:, :, v.shape[2] // 2 :] = v[:, :, -1:]
    return problem._replace(v=v)


def keys_of_all_sizes(problem: GradientProblem) -> GradientProblem:
    sizes = torch.linspace(3, 0, problem.k.shape[2])[:, None]
    return problem._replace(k=problem.k * sizes)


def queries_of_all_sizes(problem: GradientProblem) -> GradientProblem:
    sizes = torch.linspace(0, 3, problem.q.shape[2])[:, None]
    return problem._replace(q=problem.q * sizes)


def late_loss_of_small_queries(problem: GradientProblem) -> GradientProblem:
    """Far queries add to dv alone."""
    q, d_out = problem.q.clone(), problem.d_out.clone()
    q[:, :, q.shape[2] // 2 :] *= 1e-6
    d_out[:, :, q.shape[2] // 2 :] *= 1e4
    return problem._replace(q=q, d_out=d_out)


def far_values_of_nothing(problem: GradientProblem) -> GradientProblem:
    """What far keys add to dq comes from delta alone."""
    v = problem.v.clone()
    v[:, :, : v.shape[2] // 4] = 0
    return problem._replace(v=v)


def small_keys(problem: GradientProblem) -> GradientProblem:
    """Squares of keys are 0, and only far ones add to dq."""
    return values_that_differ_far_away(problem._replace(k=problem.k * 1e-20))


def outlier_query(problem: GradientProblem) -> GradientProblem:
    q = problem.q.clone()
    q[:, :, problem.q.shape[2] // 2] *= 1e9
    return problem._replace(q=q)


ATTACKS += [
    outlier_query,
    small_keys,
    late_loss_of_small_queries,
    far_values_of_nothing,
    one_direction,
    loss_where_values_differ,
    values_that_differ_far_away,
    keys_of_all_sizes,
    queries_of_all_sizes,
]
SLOPES = torch.tensor([0.5, 0.1, 0.02, 0.004])


@pytest.fixture
def with_tolerance(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """Set the share of a row that a forward may leave out; a gradient may leave out a quarter."""

    def set_to(share: float) -> None:
        monkeypatch.setattr(kernel_arguments, "tolerance", lambda _: share)
        kernel_arguments._constants.cache_clear()

    yield set_to
    kernel_arguments._constants.cache_clear()


@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
@pytest.mark.parametrize("reach", [CAUSAL, BIDIRECTIONAL], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_no_row_loses_more_than_is_certified(
    attack: Callable[[GradientProblem], GradientProblem],
    reach: Reach,
    *,
    mirrored: bool,
    with_tolerance: Callable[[float], None],
) -> None:
    problem = attack(draw_problem(q_len=2000, kv_len=2000, dim=16, value_dim=16))
    if mirrored:
        problem = GradientProblem(*(part.flip(2).contiguous() for part in problem))
    inputs = (problem.q, problem.k, problem.v, SLOPES)
    with_tolerance(1e-30)
    done = attend(*inputs, 0.2, reach, wants_log_sum_exp=True)
    outputs = (problem.d_out, None, *inputs, done.out, done.log_sum_exp, 0.2, reach)
    everything = gradients(*outputs)
    with_tolerance(0.1)
    found = gradients(*outputs)
    for name, some, right in zip(NAMES[:3], found[:3], everything[:3], strict=False):
        if (attack, name) == (one_direction, "dq"):
            continue  # all keys are alike, so the terms of its two sides cancel
        sizes = torch.linalg.vector_norm(right.double(), dim=-1)
        lost = torch.linalg.vector_norm(some.double() - right, dim=-1)
        assert (lost <= 0.025 * sizes + 1e-37).all(), name


def test_far_pairs_of_blocks_are_left_out() -> None:
    problem = draw_problem(heads=8, kv_heads=8, q_len=4096, kv_len=4096, dim=16, value_dim=16)
    share = call_gradients(problem).looked_at / (8 * 4096 * 4097 / 2)
    assert 0.2 < share < 0.55
    flat = call_gradients(problem, slopes=torch.zeros(8)).looked_at
    assert flat == 8 * 64**2 * 64 * 65 // 2
