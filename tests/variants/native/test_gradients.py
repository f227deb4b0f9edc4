"""The kernel's gradients: the formula's for any shape, whatever is left out; torch knows them."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tests.effort import examples
from variants.compiled.flags import FLAGS
from variants.native import (
    kernel_arguments,
    kernel_call,
    kernel_gradients,
    kernel_library,
    torch_operator,
)
from variants.native.kernel_arguments import BIDIRECTIONAL, CAUSAL, EVERY_KEY, Reach
from variants.native.kernel_call import attend
from variants.native.kernel_gradients import Gradients, gradients
from variants.problem import Unsupported, alibi_slopes

TOLERATED = {torch.float32: 2e-5, torch.bfloat16: 4e-2, torch.float16: 5e-3}
_LEAST = 0.05  # a row's norm: the terms of a row of dq, dk or dv are about 1
NAMES = ("dq", "dk", "dv", "dslopes")


class Drawn(NamedTuple):
    """The tensors of a call, and the gradient of its output."""

    q: Tensor
    k: Tensor
    v: Tensor
    d_out: Tensor


def drawn(
    *,
    heads: int = 4,
    kv_heads: int = 4,
    q_len: int = 300,
    kv_len: int = 300,
    dim: int = 32,
    value_dim: int = 32,
    batch: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Drawn:
    generator = torch.Generator().manual_seed(q_len + kv_len)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    q, d_out = normal(batch, heads, q_len, dim), normal(batch, heads, q_len, value_dim)
    return Drawn(
        q, normal(batch, kv_heads, kv_len, dim), normal(batch, kv_heads, kv_len, value_dim), d_out
    )


def called(
    given: Drawn,
    reach: Reach = CAUSAL,
    *,
    slopes: Tensor | None = None,
    scale: float = 0.2,
    d_lse: Tensor | None = None,
    sequences: Tensor | None = None,
) -> Gradients:
    slopes = alibi_slopes(given.q.shape[1]) if slopes is None else slopes
    inputs = (given.q, given.k, given.v, slopes)
    done = attend(*inputs, scale, reach, sequences=sequences, wants_log_sum_exp=True)
    outputs = (done.out, done.log_sum_exp)
    return gradients(given.d_out, d_lse, *inputs, *outputs, scale, reach, sequences=sequences)


def truth(
    given: Drawn,
    reach: Reach = CAUSAL,
    *,
    slopes: Tensor | None = None,
    scale: float = 0.2,
    d_lse: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Return the formula's gradients of q, k, v and the slopes, in float64."""
    slopes = alibi_slopes(given.q.shape[1]) if slopes is None else slopes
    leaves = [part.detach().double().requires_grad_() for part in (*given[:3], slopes)]
    q, k, v, slope = leaves
    group, past = q.shape[1] // k.shape[1], k.shape[2] - q.shape[2]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    distance = torch.arange(k.shape[2]) - torch.arange(past, k.shape[2])[:, None]
    scores = scale * q @ k.mT - slope[..., None, None] * distance.abs()
    hidden = (distance > reach.after) | (-distance > reach.before)
    scores = scores.masked_fill(hidden, -math.inf)
    loss = (scores.softmax(dim=-1) @ v * given.d_out.double()).sum()
    if d_lse is not None:
        loss = loss + (scores.logsumexp(dim=-1) * d_lse.double()).sum()
    return torch.autograd.grad(loss, leaves)


def worst_error(found: Tensor, wanted: Tensor, least: float = _LEAST) -> float:
    """Return the largest error of a row, over its norm or half of the usual norm of its head."""
    if wanted.dim() < 4:
        size = torch.linalg.vector_norm(wanted).clamp(min=least)
        return float(torch.linalg.vector_norm(found - wanted) / size)
    norms = torch.linalg.vector_norm(wanted, dim=-1)
    usual = norms.square().mean(dim=-1, keepdim=True).sqrt()
    sizes = norms.maximum(usual / 2).clamp(min=least)
    return float((torch.linalg.vector_norm(found - wanted, dim=-1) / sizes).max())


def assert_right(
    found: Gradients, wanted: tuple[Tensor, ...], dtype: torch.dtype, least: float = _LEAST
) -> None:
    for name, some, right in zip(NAMES, found, wanted, strict=False):
        tolerated = TOLERATED[dtype] * (20 if name == "dslopes" else 1)  # its terms cancel
        assert worst_error(cast(Tensor, some).double(), right, least) < tolerated, name


SHAPES: dict[str, tuple[Reach, dict[str, Any]]] = {
    "one block": (CAUSAL, {"q_len": 64, "kv_len": 64}),
    "one token": (CAUSAL, {"q_len": 1, "kv_len": 1}),
    "a step": (CAUSAL, {"q_len": 3, "kv_len": 200}),
    "blocks and a rest": (CAUSAL, {"q_len": 333, "kv_len": 333, "batch": 2}),
    "a chunk": (CAUSAL, {"q_len": 130, "kv_len": 401}),
    "grouped heads": (CAUSAL, {"heads": 6, "kv_heads": 2}),
    "odd dims": (CAUSAL, {"dim": 20, "value_dim": 17}),
    "a wider value": (CAUSAL, {"dim": 16, "value_dim": 48}),
    "the widest head": (CAUSAL, {"heads": 1, "kv_heads": 1, "dim": 256, "value_dim": 256}),
    "bidirectional": (BIDIRECTIONAL, {}),
    "bidirectional, more keys": (BIDIRECTIONAL, {"q_len": 70, "kv_len": 500, "kv_heads": 1}),
    "bidirectional, more queries": (BIDIRECTIONAL, {"q_len": 200, "kv_len": 90}),
    "a window": (Reach(100, 0), {}),
    "a narrow window": (Reach(3, 0), {}),
    "a window that ends at a block's second key": (Reach(126, 0), {"kv_len": 320, "q_len": 320}),
    "a window on both sides": (Reach(70, 130), {}),
    "a window of what comes": (Reach(0, 80), {}),
}
"""What a query reaches and the sizes of a call, by what is special about them."""


@pytest.mark.parametrize("dtype", TOLERATED, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_the_formula_s(shape: str, dtype: torch.dtype) -> None:
    reach, sizes = SHAPES[shape]
    given = drawn(**sizes, dtype=dtype)
    least = 1.0 if given.k.shape[2] == 1 else _LEAST  # dq and dk are 0 then, but for rounding
    assert_right(called(given, reach), truth(given, reach), dtype, least)


@settings(max_examples=examples(15), deadline=None)
@given(
    kv_len=st.integers(1, 400),
    q_share=st.floats(0, 1),
    dim=st.integers(1, 70),
    value_dim=st.integers(1, 70),
    group=st.sampled_from([1, 3]),
    before=st.sampled_from([0, 40, 64, 150, EVERY_KEY]),
    after=st.sampled_from([0, 1, 64, 100, EVERY_KEY]),
    size=st.sampled_from([0.3, 1.0, 4.0]),
)
def test_any_sizes_are_answered(
    kv_len: int,
    q_share: float,
    dim: int,
    value_dim: int,
    group: int,
    before: int,
    after: int,
    size: float,
) -> None:
    given = drawn(
        heads=2 * group,
        kv_heads=2,
        q_len=max(1, round(q_share * kv_len)),
        kv_len=kv_len,
        dim=dim,
        value_dim=value_dim,
    )
    given = given._replace(q=given.q * size)
    reach = Reach(before, after)
    wanted = truth(given, reach)
    for some, right in zip(called(given, reach)[:3], wanted, strict=False):
        assert torch.linalg.vector_norm(some - right) <= 1e-4 * (
            torch.linalg.vector_norm(right) + size * kv_len**0.5
        )


def late_loss(given: Drawn) -> Drawn:
    d_out = given.d_out.clone()
    d_out[:, :, : -d_out.shape[2] // 4] = 0
    return given._replace(d_out=d_out)


def loss_of_some_tokens(given: Drawn) -> Drawn:
    d_out = torch.zeros_like(given.d_out)
    d_out[:, :, ::97] = given.d_out[:, :, ::97]
    return given._replace(d_out=d_out)


def far_values_that_are_larger(given: Drawn) -> Drawn:
    v = given.v.clone()
    v[:, :, : v.shape[2] // 2] *= 100
    return given._replace(v=v)


def a_far_key_that_wins(given: Drawn) -> Drawn:
    q, k = given.q.clone(), given.k.clone()
    q[:, :, -100:] = 3
    k[:, :, 5] = 4
    return given._replace(q=q, k=k)


def values_that_are_all_alike(given: Drawn) -> Drawn:
    return given._replace(v=torch.ones_like(given.v))


def large_norms(given: Drawn) -> Drawn:
    return given._replace(q=given.q * 4, k=given.k * 4)


def no_values(given: Drawn) -> Drawn:
    return given._replace(v=torch.zeros_like(given.v))


def one_large_gradient(given: Drawn) -> Drawn:
    d_out = given.d_out.clone()
    d_out[:, :, -1] *= 1e6
    return given._replace(d_out=d_out)


ATTACKS: list[Callable[[Drawn], Drawn]] = [
    late_loss,
    loss_of_some_tokens,
    far_values_that_are_larger,
    a_far_key_that_wins,
    values_that_are_all_alike,
    large_norms,
    no_values,
    one_large_gradient,
]


def one_direction(given: Drawn) -> Drawn:
    """Every score is its bound, and all terms of dv add up."""
    d_out, one = torch.zeros_like(given.d_out), torch.zeros_like(given.q)
    d_out[..., 0] = one[..., 0] = 1
    return given._replace(q=one, k=one, d_out=d_out)


def loss_where_values_differ(given: Drawn) -> Drawn:
    """Only far queries add to dk, because near values are alike; dv is full of near ones."""
    v = given.v.clone()
    v[:, :, : v.shape[2] // 2] = v[:, :, :1]
    return given._replace(v=v)


def values_that_differ_far_away(given: Drawn) -> Drawn:
    """Only far keys add to dq."""
    v = given.v.clone()
    v[:, :, v.shape[2] // 2 :] = v[:, :, -1:]
    return given._replace(v=v)


def keys_of_all_sizes(given: Drawn) -> Drawn:
    sizes = torch.linspace(3, 0, given.k.shape[2])[:, None]
    return given._replace(k=given.k * sizes)


def queries_of_all_sizes(given: Drawn) -> Drawn:
    sizes = torch.linspace(0, 3, given.q.shape[2])[:, None]
    return given._replace(q=given.q * sizes)


def late_loss_of_small_queries(given: Drawn) -> Drawn:
    """Far queries add to dv alone."""
    q, d_out = given.q.clone(), given.d_out.clone()
    q[:, :, q.shape[2] // 2 :] *= 1e-6
    d_out[:, :, q.shape[2] // 2 :] *= 1e4
    return given._replace(q=q, d_out=d_out)


def far_values_of_nothing(given: Drawn) -> Drawn:
    """What far keys add to dq comes from delta alone."""
    v = given.v.clone()
    v[:, :, : v.shape[2] // 4] = 0
    return given._replace(v=v)


def small_keys(given: Drawn) -> Drawn:
    """Squares of keys are 0, and only far ones add to dq."""
    return values_that_differ_far_away(given._replace(k=given.k * 1e-20))


ATTACKS += [
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
    attack: Callable[[Drawn], Drawn],
    reach: Reach,
    *,
    mirrored: bool,
    with_tolerance: Callable[[float], None],
) -> None:
    given = attack(drawn(q_len=2000, kv_len=2000, dim=16, value_dim=16))
    if mirrored:
        given = Drawn(*(part.flip(2).contiguous() for part in given))
    inputs = (given.q, given.k, given.v, SLOPES)
    with_tolerance(1e-30)
    done = attend(*inputs, 0.2, reach, wants_log_sum_exp=True)
    outputs = (given.d_out, None, *inputs, done.out, done.log_sum_exp, 0.2, reach)
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
    given = drawn(heads=8, kv_heads=8, q_len=4096, kv_len=4096, dim=16, value_dim=16)
    share = called(given).looked_at / (8 * 4096 * 4097 / 2)
    assert 0.2 < share < 0.55
    flat = called(given, slopes=torch.zeros(8)).looked_at
    assert flat == 8 * 64**2 * 64 * 65 // 2


def test_gradients_have_the_same_bits_whoever_computes_them() -> None:
    given = drawn(heads=8, kv_heads=2, q_len=500, kv_len=500, batch=2)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5, 5):
            torch.set_num_threads(threads)
            results.append(called(given)[:4])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(some, first) for some, first in zip(other, results[0], strict=True))


@pytest.mark.parametrize("slope", [0.0, -0.02, 1e-40, 30.0, 1e6])
def test_slopes_may_be_anything(slope: float) -> None:
    given, slopes = drawn(q_len=200, kv_len=200), torch.full((4,), slope)
    found, wanted = called(given, slopes=slopes), truth(given, slopes=slopes)
    for name, some, right in zip(NAMES[:3], found, wanted, strict=False):
        assert worst_error(cast(Tensor, some).double(), right, least=1.0) < 2e-5, name


def test_slopes_of_each_batch_entry_have_gradients_of_their_own() -> None:
    given = drawn(batch=2)
    slopes = torch.stack([alibi_slopes(4), alibi_slopes(4).flip(0)])
    found = called(given, slopes=slopes)
    assert found.d_slopes.shape == (2, 4)
    assert_right(found, truth(given, slopes=slopes), torch.float32)


def test_a_negative_scale_is_bounded_too() -> None:
    given = drawn(q_len=600, kv_len=600)
    assert_right(called(given, scale=-0.5), truth(given, scale=-0.5), torch.float32)


def test_the_log_sum_exp_has_a_gradient() -> None:
    given = drawn()
    d_lse = torch.randn(given.q.shape[:3])
    assert_right(called(given, d_lse=d_lse), truth(given, d_lse=d_lse), torch.float32)


def test_sequences_have_gradients_of_their_own_and_other_rows_have_none() -> None:
    given = drawn(q_len=400, kv_len=400, heads=4, kv_heads=2)
    lines = [[0, 10, 90, 10, 90, 0], [0, 150, 70, 110, 110, 40], [0, 300, 0, 300, 50, 0]]
    for part in given:
        part[:, :, :10] = part[:, :, 100:110] = part[:, :, 220:] = math.nan
    found = called(given, sequences=torch.tensor(lines))
    wanted = [torch.zeros_like(part, dtype=torch.float64) for part in found[:3]]
    for _, first, queries, key, keys, _ in lines[:2]:
        rows, own = slice(first, first + queries), slice(key, key + keys)
        own_rows = Drawn(*(given[i][:, :, (rows, own, own, rows)[i]] for i in range(4)))
        for total, some, place in zip(wanted, truth(own_rows), (rows, own, own), strict=False):
            total[:, :, place] += some
    for some, right in zip(found[:3], wanted, strict=True):
        torch.testing.assert_close(some.double(), right, rtol=1e-4, atol=1e-4)


def test_queries_before_the_first_key_have_no_gradient_and_give_none() -> None:
    given = drawn(q_len=100, kv_len=70)
    found = called(given, sequences=torch.tensor([[0, 0, 100, 0, 70, -30]]))
    assert not found.d_q[:, :, :30].any()
    seeing = Drawn(given.q[:, :, 30:], given.k, given.v, given.d_out[:, :, 30:])
    found = found._replace(d_q=found.d_q[:, :, 30:])
    assert_right(found, truth(seeing), torch.float32)


def test_a_key_that_is_no_number_makes_every_later_gradient_none() -> None:
    given = drawn(q_len=700, kv_len=700)
    given.k[:, :, 3] = math.nan
    found = called(given)
    assert found.d_q[:, :, 3:].isnan().all()
    assert found.d_k.isnan().all()


NARROW = ["x86-64", "x86-64-v2", "x86-64-v3"]


@pytest.fixture(params=NARROW)
def _narrower(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the kernel built for a processor with narrower vectors."""
    narrower = kernel_library.load([*FLAGS, f"-march={request.param}"])
    for module in (kernel_call, kernel_gradients):
        monkeypatch.setattr(module, "library", lambda: narrower)


@pytest.mark.usefixtures("_narrower")
def test_gradients_agree_on_narrower_vectors() -> None:
    given = drawn(q_len=150, kv_len=333, dim=40, value_dim=20, kv_heads=2)
    for reach in (CAUSAL, BIDIRECTIONAL, Reach(70, 30)):
        assert_right(called(given, reach), truth(given, reach), torch.float32)


def by_torch(given: Drawn, **options: Any) -> tuple[Tensor, Tensor]:
    """Return what the operator gives for q, k and v that need gradients."""
    slopes = options.get("slopes", alibi_slopes(given.q.shape[1]))
    wants = bool(options.get("wants_lse"))
    return torch_operator.operator()(*given[:3], slopes, 0.2, EVERY_KEY, 0, None, wants)


def test_torch_knows_the_gradients() -> None:
    given, slopes = drawn(), alibi_slopes(4).requires_grad_()
    d_lse = torch.randn(given.q.shape[:3])
    leaves = [part.requires_grad_() for part in given[:3]]
    results = by_torch(given, slopes=slopes, wants_lse=True)
    found = torch.autograd.grad(results, [*leaves, slopes], (given.d_out, d_lse))
    wanted = truth(given, d_lse=d_lse)
    for some, right in zip(found, wanted, strict=True):
        assert worst_error(some.double(), right) < 2e-5


@pytest.mark.parametrize("leaf", [0, 1, 2, 3])
def test_what_needs_no_gradient_gets_none(leaf: int) -> None:
    given = drawn(q_len=70, kv_len=70)
    inputs = [*given[:3], alibi_slopes(4)]
    inputs[leaf].requires_grad_()
    q, k, v, slopes = inputs
    by_torch(Drawn(q, k, v, given.d_out), slopes=slopes)[0].sum().backward()
    assert [part.grad is None for part in inputs] == [i != leaf for i in range(4)]


def test_the_gradient_of_the_log_sum_exp_alone_is_right() -> None:
    given = drawn(q_len=70, kv_len=70)
    given.q.requires_grad_()
    (found,) = torch.autograd.grad(by_torch(given, wants_lse=True)[1].sum(), given.q)
    nothing = given._replace(d_out=torch.zeros_like(given.d_out))
    wanted = truth(nothing, d_lse=torch.ones(given.q.shape[:3]))[0]
    assert worst_error(found.double(), wanted) < 2e-5


def test_torch_s_own_checks_pass() -> None:
    given = Drawn(*(part.requires_grad_() for part in drawn(q_len=70, kv_len=90)))
    torch.library.opcheck(
        cast(Any, torch_operator.operator()),
        (*given[:3], alibi_slopes(4), 0.2, EVERY_KEY, 0, None, True),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
    plain = drawn(q_len=70, kv_len=90)
    done = attend(*plain[:3], alibi_slopes(4), 0.2, CAUSAL, wants_log_sum_exp=True)
    inputs = (plain.d_out, None, *plain[:3], alibi_slopes(4), done.out, done.log_sum_exp)
    torch.library.opcheck(
        torch.ops.alibi_bench.native_window_backward.default,
        (*inputs, 0.2, EVERY_KEY, 0, None),
        test_utils=("test_schema", "test_faketensor"),
    )


def test_transforms_and_checkpoints_give_the_same_gradient() -> None:
    given, slopes = drawn(q_len=90, kv_len=90), alibi_slopes(4)
    attention = torch_operator.operator()

    def loss(q: Tensor) -> Tensor:
        out = attention(q, given.k, given.v, slopes, 0.2, EVERY_KEY, 0, None, False)[0]
        return (out * given.d_out).sum()

    leaf = given.q.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(loss(leaf), leaf)
    assert torch.equal(torch.func.grad(loss)(given.q), wanted)
    recomputed = cast(Tensor, checkpoint(loss, leaf, use_reentrant=False))
    assert torch.equal(torch.autograd.grad(recomputed, leaf)[0], wanted)
    graph = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.equal(torch.autograd.grad(graph(leaf), leaf)[0], wanted)


def test_a_second_gradient_is_refused() -> None:
    given = drawn(q_len=70, kv_len=70)
    given.q.requires_grad_()
    out = by_torch(given)[0]
    (first,) = torch.autograd.grad(out.square().sum(), given.q, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_a_forward_mode_derivative_is_refused() -> None:
    given = drawn(q_len=70, kv_len=70)
    with pytest.raises(Unsupported, match="no forward-mode derivative; eager has"):
        torch.func.jvp(lambda q: by_torch(given._replace(q=q))[0], (given.q,), (given.q,))


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
    given = drawn(q_len=70, kv_len=70)
    torch_operator.operator()
    done = attend(*given[:3], alibi_slopes(4), 0.2, CAUSAL, wants_log_sum_exp=True)
    inputs = [given.d_out, None, *given[:3], alibi_slopes(4), done.out, done.log_sum_exp]
    alter, words = REFUSED[change]
    alter(inputs)
    with pytest.raises(ValueError, match=re.escape(words)):
        torch.ops.alibi_bench.native_window_backward(*inputs, 0.2, EVERY_KEY, 0, None)
