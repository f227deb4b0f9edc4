"""On a GPU the kernel answers as the oracle does, and visits what the rule says.

`make gpu-kernel` runs it. With TRITON_INTERPRET=1 it is rehearsed on a CPU, at toy size.
"""

import math

import pytest
import torch
from msgspec.structs import replace

from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import Case, Dtype
from tests.variants.batches import forms as of_all
from tests.variants.batches.problems import problem
from tests.variants.formula import assert_close, tensors, truth
from variants.attention import alibi_attention
from variants.batches.cache_norms import cache_norms
from variants.problem import alibi_slopes
from variants.triton import launch
from variants.triton.launch import attend
from variants.triton.launch_split import attend_split
from variants.triton.tiles import Tiles
from variants.triton.triton_window import prepare
from variants.windows import tolerance

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
LONG, SHORT = (2048, 700) if ON_GPU else (90, 70)
DTYPES: tuple[Dtype, ...] = ("bfloat16", "float16", "float32") if ON_GPU else ("float16",)


def cases(dtype: Dtype) -> list[Case]:
    """Return shapes with gradients, and forwards without."""
    square = Case(
        heads=8, kv_heads=8, head_dim=64, q_len=LONG, kv_len=LONG, dtype=dtype, mode="backward"
    )  # fmt: skip
    small = replace(square, heads=4, kv_heads=4, q_len=SHORT, kv_len=SHORT)
    return [
        square,
        replace(square, kv_heads=2, q_len=LONG - 1, kv_len=LONG - 1),
        replace(small, kv_len=LONG + 3),
        replace(small, causal=False),
        replace(square, head_dim=128, mode="forward"),
        replace(square, batch=4, mode="forward"),  # so many programs that keys are not split
        replace(square, kv_heads=2, q_len=1, mode="forward"),
        replace(square, kv_heads=1, q_len=16, mode="forward"),
        replace(square, logit_scale=4, mode="forward"),
    ]


@pytest.mark.parametrize("case", [case for dtype in DTYPES for case in cases(dtype)], ids=str)
def test_it_agrees_with_the_oracle(case: Case) -> None:
    spec, inputs = spec_of(case, DEVICE), draw(case, 0, "before", DEVICE)
    found = check(prepare(spec), spec, inputs, answers="alibi", seed=0)
    assert found.agrees, found


@pytest.mark.parametrize(
    "batch",
    [
        *("packed", "mixed", "padded left", "padded both, bidirectional"),
        *("static cache, a step", "empty cache"),
    ],
)
def test_batches_of_any_form_are_answered(batch: str) -> None:
    inputs, arguments = problem(**of_all.BATCHES[batch])
    arguments = {
        name: part.to(DEVICE) if isinstance(part, torch.Tensor) else part
        for name, part in arguments.items()
    }
    out = alibi_attention(
        *(part.to(DEVICE) for part in inputs), **arguments, variant="triton_window"
    )
    of_all.assert_right(out.cpu(), of_all.answer_to(batch).out)


def test_it_visits_the_tiles_that_the_rule_says() -> None:
    from tests.variants.triton.interpreted.model import model_counts

    torch.manual_seed(1)
    dtype = torch.bfloat16 if ON_GPU else torch.float16
    q, k, v = (torch.randn(1, 2, LONG, 64).to(dtype) for _ in range(3))
    slopes, tiles = alibi_slopes(4)[:2], Tiles(128, 64, 8, 2)
    q_there, k_there, v_there, slopes_there = (part.to(DEVICE) for part in (q, k, v, slopes))
    done = attend(q_there, k_there, v_there, slopes_there, 0.125, causal=True, tiles=tiles)
    wanted = model_counts(q, k, v, slopes, tolerance(dtype) * 2**-0.05, tiles)
    off = (done.visited.cpu().flip(1) - wanted).abs()
    assert off.max() <= 1
    assert (off == 0).float().mean() > 0.95


@pytest.mark.parametrize("tma", [True, False], ids=["TMA", "pointers"])
@pytest.mark.parametrize("log2_limit", [60.0, -math.inf], ids=["fixed", "running"])
def test_each_form_of_the_main_loop_is_right(
    log2_limit: float, monkeypatch: pytest.MonkeyPatch, *, tma: bool
) -> None:
    monkeypatch.setattr(launch, "log2_limit", lambda _: log2_limit)
    dtype = torch.bfloat16 if ON_GPU else torch.float16
    q, k, v = tensors(4, 2, SHORT, LONG + 3, 64, dtype)
    q_there, k_there, v_there, slopes = (part.to(DEVICE) for part in (q, k, v, alibi_slopes(4)))
    out = attend(q_there, k_there, v_there, slopes, 0.125, causal=True, tma=tma).out
    assert_close(out.cpu(), truth(q, k, v), dtype)


def test_equal_calls_give_equal_bits() -> None:
    q, k, v = (
        torch.randn(1, 4, SHORT, 64, device=DEVICE, dtype=torch.float16, requires_grad=True)
        for _ in range(3)
    )
    found = []
    for _ in range(2):
        out = alibi_attention(q, k, v, variant="triton_window")
        found.append([out.detach(), *torch.autograd.grad(out.sum(), (q, k, v))])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_step_with_the_norms_of_its_cache_leaves_out_keys_and_repeats_its_bits() -> None:
    torch.manual_seed(2)
    dtype = torch.bfloat16 if ON_GPU else torch.float16
    kv_len = 16384 if ON_GPU else 700
    q, k, v = (
        torch.randn(2, heads, length, 64, device=DEVICE).to(dtype)
        for heads, length in ((8, 1), (2, kv_len), (2, kv_len))
    )
    slopes = alibi_slopes(8).to(DEVICE)
    calls = [attend_split(q, k, v, slopes, 0.125, norms=cache_norms(k, v)) for _ in range(2)]
    assert torch.equal(calls[0].out, calls[1].out)
    everything = attend_split(q, k, v, slopes, 0.125)
    assert calls[0].visited.sum() < everything.visited.sum()
    off = (calls[0].out.double() - everything.out.double()).norm(dim=-1)
    assert (off <= 3 * tolerance(dtype) * everything.out.double().norm(dim=-1)).all()
