"""bfloat16 is packed in memory that a prepared attention keeps for its next call."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.variants.attacks import HEADS, draw_qk, spec_for
from variants.batches.sequences import Sequences
from variants.dispatch.prepared_cache import tensor_bytes
from variants.native import kernel_library
from variants.native.kernel_arguments import CAUSAL
from variants.native.kernel_call import attend
from variants.native.native_window import prepare, prepare_general
from variants.problem import Extras, alibi_slopes

pytestmark = pytest.mark.skipif(
    not kernel_library.library().packed_width(64, 64),
    reason="this processor has no products of bfloat16, so nothing is packed",
)


def _attend(length: int, spare_room: list[Tensor]) -> Tensor:
    q, k = draw_qk(length, dtype=torch.bfloat16)
    return attend(q, k, k, alibi_slopes(HEADS), 0.1, CAUSAL, spare_room=spare_room).out


def test_the_next_call_packs_into_the_room_of_the_last() -> None:
    spare_room: list[Tensor] = []
    first = _attend(300, spare_room)
    (room,) = spare_room
    room.fill_(torch.nan)
    assert torch.equal(_attend(300, spare_room), first)
    assert spare_room[0] is room


def test_a_longer_call_gets_larger_room_and_leaves_it() -> None:
    spare_room: list[Tensor] = []
    _attend(70, spare_room)
    short = spare_room[0].numel()
    _attend(300, spare_room)
    assert [room.numel() > short for room in spare_room] == [True]


def test_threads_that_call_at_once_do_not_share_room() -> None:
    q, k = draw_qk(700, dtype=torch.bfloat16)
    attention, slopes = prepare(spec_for(q, k)), alibi_slopes(HEADS)
    values = [torch.randn_like(k) for _ in range(4)]
    wanted = [attention(q, k, v, slopes) for v in values]
    with ThreadPoolExecutor(4) as pool:
        outs = pool.map(lambda v: [attention(q, k, v, slopes) for _ in range(8)], values)
        for out, right in zip(outs, wanted, strict=True):
            assert all(torch.equal(answer, right) for answer in out)


def test_the_cache_of_prepared_attention_counts_the_room() -> None:
    q, k = draw_qk(700, dtype=torch.bfloat16)
    attention = prepare(spec_for(q, k))
    assert tensor_bytes(attention) == 0
    attention(q, k, k, alibi_slopes(HEADS))
    assert tensor_bytes(attention) >= k.numel() * k.element_size()


def test_batches_of_any_form_keep_their_room_too() -> None:
    q, k = draw_qk(700, dtype=torch.bfloat16)
    extras = Extras(sequences="cu_seqlens")
    attention = prepare_general(replace(spec_for(q, k), extras=extras))
    slopes = alibi_slopes(HEADS)
    for lengths in ([0, 300, 700], [0, 300, 310, 700]):  # the second is two calls of the kernels
        packed = Sequences(cu_seqlens=torch.tensor(lengths))
        first = attention(q, k, k, slopes, packed)[0]
        assert tensor_bytes(attention) >= k.numel() * k.element_size() * 0.9
        assert torch.equal(attention(q, k, k, slopes, packed)[0], first)
