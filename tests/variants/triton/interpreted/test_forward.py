"""The forward agrees with the formula for every dtype, shape, tile and form of attention."""

from typing import NamedTuple

import pytest
import torch

from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import Case
from tests.variants.attacks import HEADS, draw_qk, spec_for
from tests.variants.formula import assert_close, tensors, truth
from tests.variants.triton.interpreted.model import SMALL
from variants.problem import Attention, Spec, Unsupported, alibi_slopes
from variants.triton.launch import attend
from variants.triton.tiles import Tiles
from variants.triton.triton_window import prepare

CPU = torch.device("cpu")

CASES = [
    Case(heads=4, kv_heads=4, head_dim=64, q_len=300, kv_len=300, dtype="float32"),
    Case(heads=2, kv_heads=1, head_dim=64, q_len=257, kv_len=257, dtype="bfloat16", batch=2),
    Case(heads=3, kv_heads=3, head_dim=32, q_len=200, kv_len=200, dtype="float16", layout="bnhd"),
    Case(heads=4, kv_heads=1, head_dim=80, q_len=70, kv_len=331, dtype="bfloat16"),
    Case(heads=3, kv_heads=3, head_dim=17, q_len=90, kv_len=301, dtype="float32", batch=2),
    Case(heads=2, kv_heads=1, head_dim=256, q_len=129, kv_len=129, dtype="bfloat16"),
    Case(heads=2, kv_heads=2, head_dim=128, q_len=1, kv_len=200, dtype="float16"),
    Case(heads=1, kv_heads=1, head_dim=16, q_len=1, kv_len=1, dtype="float32"),
    Case(heads=4, kv_heads=2, head_dim=64, q_len=299, kv_len=299, dtype="float32", causal=False),
    Case(heads=4, kv_heads=2, head_dim=64, q_len=299, kv_len=299, dtype="bfloat16", causal=False),
    Case(heads=2, kv_heads=2, head_dim=32, q_len=330, kv_len=100, dtype="float16", causal=False),
    Case(heads=2, kv_heads=2, head_dim=32, q_len=70, kv_len=330, dtype="float32", causal=False),
    Case(heads=4, kv_heads=4, head_dim=64, q_len=300, kv_len=300, dtype="float32", logit_scale=16),
    Case(heads=4, kv_heads=4, head_dim=64, q_len=300, kv_len=300, dtype="bfloat16", logit_scale=16),
    Case(heads=4, kv_heads=4, head_dim=64, q_len=300, kv_len=300, dtype="float16", scale="1/d"),
]


def attention_of(spec: Spec, tiles: Tiles | None = None, *, tma: bool = True) -> Attention:
    def attention(q, k, v, slopes):  # type: ignore[no-untyped-def]
        done = attend(q, k, v, slopes, spec.scale, causal=spec.causal, tiles=tiles, tma=tma)
        return done.out

    return attention


@pytest.mark.parametrize("tma", [True, False], ids=["TMA", "pointers"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_it_agrees_with_the_oracle(case: Case, *, tma: bool) -> None:
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    found = check(attention_of(spec, SMALL, tma=tma), spec, inputs, answers="alibi", seed=0)
    assert found.agrees, found


class Shape(NamedTuple):
    """A tile's rows and keys: also with more keys than rows, and fewer than a block has."""

    rows: int
    keys: int


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("shape", [Shape(128, 128), Shape(128, 32), Shape(32, 128), Shape(16, 16)])
def test_it_agrees_in_tiles_of_any_shape(shape: Shape, *, causal: bool) -> None:
    q, k, v = tensors(2, 1, 170, 361, 32, torch.float16, batch=1)
    done = attend(
        *(q, k, v, alibi_slopes(2), 32**-0.5), causal=causal, tiles=Tiles(*shape, warps=4, stages=2)
    )
    assert_close(done.out, truth(q, k, v, causal=causal), torch.float16)


def test_as_a_variant_it_has_the_tiles_of_the_table() -> None:
    q, k, v = tensors(2, 2, 200, 200, 64, batch=1)
    assert_close(prepare(spec_for(q, k))(q, k, v, alibi_slopes(2)), truth(q, k, v), torch.float32)


def test_the_log_sum_exp_is_the_formula_s() -> None:
    q, k, v = tensors(4, 4, 100, 250, 32, batch=2)
    slopes = alibi_slopes(4)
    distance = torch.arange(250) - torch.arange(150, 250)[:, None]
    scores = 32**-0.5 * q.double() @ k.double().mT - slopes[:, None, None] * distance.abs()
    wanted = scores.masked_fill(distance > 0, -torch.inf).logsumexp(dim=-1)
    done = attend(q, k, v, slopes, 32**-0.5, causal=True, tiles=SMALL)
    torch.testing.assert_close(done.log_sum_exp.double(), wanted, rtol=1e-5, atol=1e-5)


def test_slopes_may_be_of_each_batch_entry() -> None:
    q, k, v = tensors(4, 4, 100, 100, 32, batch=2)
    slopes = torch.stack([alibi_slopes(4), alibi_slopes(4).flip(0)])
    out = attend(q, k, v, slopes, 32**-0.5, causal=True, tiles=SMALL).out
    for entry in range(2):
        one = slice(entry, entry + 1)
        assert_close(out[one], truth(q[one], k[one], v[one], slopes[entry]), torch.float32)


def test_heads_are_computed_in_any_order_of_slopes() -> None:
    q, k, v = tensors(4, 4, 70, 70, 32, batch=1)
    slopes = torch.tensor([0.3, 0.01, 0.5, 0.002])
    out = attend(q, k, v, slopes, 32**-0.5, causal=True, tiles=SMALL).out
    assert_close(out, truth(q, k, v, slopes), torch.float32)


def test_the_interpreter_s_bfloat16_is_declined() -> None:
    q, k = draw_qk(70, dtype=torch.bfloat16)
    with pytest.raises(Unsupported, match="multiplies bfloat16 wrongly"):
        prepare(spec_for(q, k))


def test_room_for_a_head_is_limited() -> None:
    q = torch.zeros(1, HEADS, 4, 257)
    with pytest.raises(Unsupported, match="head_dim 257: the kernel has room for 256"):
        prepare(spec_for(q, q))
