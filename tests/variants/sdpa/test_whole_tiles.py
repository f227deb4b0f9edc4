"""Lengths beside a tile are filled up with zeros that no query sees, and others are left alone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from suite.agreement.inputs import draw, spec_of
from suite.cases.case import Case, Dtype, Mode
from tests.variants.agreement import agrees_with_oracle
from variants.problem import Attention, Spec
from variants.sdpa import sdpa_folded, sdpa_key
from variants.sdpa import whole_tiles as aligned_module
from variants.sdpa.whole_tiles import is_uneven, on_whole_tiles

CPU = torch.device("cpu")


def a_case(length: int, dtype: Dtype = "bfloat16", mode: Mode = "forward") -> Case:
    """Return a causal case whose kv heads are shared."""
    return Case(
        heads=6,
        kv_heads=2,
        head_dim=64,
        q_len=length,
        kv_len=length,
        dtype=dtype,
        mode=mode,
    )


def a_spec(length: int, **others: object) -> Spec:
    """Return the spec of a causal case in bfloat16, but for what is named."""
    return replace(spec_of(a_case(length), CPU), **others)  # type: ignore[arg-type]


@pytest.mark.matrix
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("length", [161, 190, 301, 511])
@pytest.mark.parametrize("variant", [sdpa_key, sdpa_folded])
def test_a_length_that_is_filled_up_agrees_with_the_oracle(
    variant: object, length: int, dtype: Dtype, mode: Mode
) -> None:
    assert agrees_with_oracle(variant.prepare, a_case(length, dtype, mode))  # type: ignore[attr-defined]


@pytest.mark.parametrize("length", [514, 1001, 2047])
def test_columns_are_filled_up_at_longer_lengths_too(length: int) -> None:
    assert agrees_with_oracle(sdpa_folded.prepare, a_case(length))


@pytest.mark.parametrize(("length", "whole"), [(161, 176), (302, 304), (511, 512)])
def test_a_call_sees_the_next_multiple_of_a_tile_and_gives_back_its_own_rows(
    length: int, whole: int
) -> None:
    seen: list[tuple[Spec, list[int]]] = []

    def prepare(spec: Spec) -> Attention:
        def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
            seen.append((spec, [tensor.shape[2] for tensor in (q, k, v)]))
            assert not k[:, :, length:].any()
            assert not v[:, :, length:].any()
            return q

        return attention

    inputs = draw(a_case(length), 0, "before", CPU)
    out = on_whole_tiles(prepare, a_spec(length))(inputs.q, inputs.k, inputs.v, inputs.slopes)
    ((spec, lengths),) = seen
    assert (spec.q_len, spec.kv_len, lengths) == (whole, whole, [whole] * 3)
    assert torch.equal(out, inputs.q)


def test_zeros_in_front_are_seen_by_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_front(tensor: Tensor, length: int) -> Tensor:
        return torch.nn.functional.pad(tensor, (0, 0, length - tensor.shape[2], 0))

    monkeypatch.setattr(aligned_module, "_fill_up", in_front)
    assert not agrees_with_oracle(sdpa_key.prepare, a_case(301))


@pytest.mark.parametrize(
    "spec",
    [
        a_spec(304),
        a_spec(159),
        a_spec(301, dtype=torch.float32),
        a_spec(301, causal=False),
        a_spec(301, q_len=1),
        a_spec(301, q_len=300),
        a_spec(301, device=torch.device("cuda")),
    ],
)
def test_what_gains_nothing_or_would_see_the_zeros_is_left_alone(spec: Spec) -> None:
    assert is_uneven(a_spec(301), 4)
    assert not is_uneven(spec, 4)


@pytest.mark.parametrize(("length", "rows"), [(302, 304), (300, 300), (513, 513)])
def test_a_key_row_is_filled_up_only_where_the_kernel_takes_all_keys_at_once(
    length: int, rows: int
) -> None:
    inputs = draw(a_case(length), 0, "before", CPU)
    out = sdpa_key.prepare(a_spec(length))(inputs.q, inputs.k, inputs.v, inputs.slopes)
    assert out.untyped_storage().nbytes() == rows * 6 * 64 * 2
