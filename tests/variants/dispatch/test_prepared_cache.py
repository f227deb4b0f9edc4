"""What was prepared is kept for so many shapes and so many bytes, whoever asks."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from suite.agreement.inputs import spec_of
from tests.records import a_case
from variants.dispatch.prepared_cache import PreparedCache, tensor_bytes
from variants.problem import Attention, Spec, Unsupported
from variants.sdpa.sdpa_mask import prepare
from variants.slopes_cache import cache_by_slopes

SPEC = spec_of(a_case(), torch.device("cpu"))
KIBIBYTE = 1 << 10


def spec_at(length: int) -> Spec:
    return replace(SPEC, q_len=length, kv_len=length)


def attention_with_mask(kibibytes: int) -> Attention:
    """Return attention that builds a mask of so many KiB at its first call."""
    build = cache_by_slopes(lambda slopes: slopes.new_zeros(kibibytes * KIBIBYTE // 4))

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        build(slopes)
        return q

    return attention


def use(cache: PreparedCache, length: int, kibibytes: int = 1) -> Attention:
    """Get the attention of a length, and call it."""
    attention = cache.get("any", spec_at(length), lambda: attention_with_mask(kibibytes))
    nothing = torch.zeros(1)
    attention(nothing, nothing, nothing, SLOPES)
    return attention


SLOPES = torch.ones(1)


def test_a_shape_is_prepared_once_for_each_variant() -> None:
    cache = PreparedCache(8, 1 << 20)
    first = cache.get("one", SPEC, lambda: attention_with_mask(1))
    assert cache.get("one", SPEC, lambda: attention_with_mask(1)) is first
    assert cache.get("other", SPEC, lambda: attention_with_mask(1)) is not first


def test_of_too_many_shapes_the_one_unused_for_longest_goes() -> None:
    cache = PreparedCache(2, 1 << 20)
    first, second = use(cache, 1), use(cache, 2)
    assert use(cache, 1) is first
    use(cache, 3)
    assert len(cache) == 2
    assert use(cache, 1) is first
    assert use(cache, 2) is not second


def test_masks_of_too_many_bytes_go_and_the_newest_stays() -> None:
    cache = PreparedCache(100, 10 * KIBIBYTE)
    for length in range(1, 9):
        use(cache, length, kibibytes=4)
    assert len(cache) == 3
    newest = use(cache, 9, kibibytes=50)
    use(cache, 10)
    assert len(cache) == 1
    assert use(cache, 9) is not newest


def test_masks_of_shapes_between_which_another_is_used_are_weighed_too() -> None:
    cache = PreparedCache(100, 10 * KIBIBYTE)
    for length in range(2, 12):
        use(cache, length, kibibytes=4)
        use(cache, 1, kibibytes=0)
    assert len(cache) == 4


def test_what_a_dense_mask_holds_is_told_to_the_byte() -> None:
    attention = prepare(spec_at(64))
    before = tensor_bytes(attention)
    tensor = torch.zeros(1, 8, 64, 64)
    with torch.no_grad():
        attention(tensor, tensor, tensor, torch.ones(8))
    assert tensor_bytes(attention) - before == 8 * 64 * 64 * 4


def test_what_is_declined_is_not_kept() -> None:
    cache = PreparedCache(8, 1 << 20)

    def decline() -> Attention:
        raise Unsupported("not here")

    with pytest.raises(Unsupported):
        cache.get("any", SPEC, decline)
    assert len(cache) == 0


def test_threads_share_it_and_its_bounds_hold() -> None:
    cache = PreparedCache(5, 1 << 20)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: use(cache, 1 + number % 11), range(400)))
    assert len(cache) == 5


def test_the_bytes_counted_are_those_of_what_is_there() -> None:
    cache = PreparedCache(4, 30 * KIBIBYTE)
    for length in (1, 2, 3, 1, 4, 5, 2, 6, 6, 7):
        use(cache, length, kibibytes=length)
    use(cache, 8, kibibytes=0)
    held = sum(tensor_bytes(entry.attention) for entry in cache._entries.values())
    assert cache._bytes == held > 0
    cache.clear()
    assert (len(cache), cache._bytes) == (0, 0)
    use(cache, 1)
    assert len(cache) == 1


def test_what_two_threads_prepared_at_once_is_counted_once() -> None:
    cache = PreparedCache(4, 1 << 20)

    def prepare_slowly() -> Attention:
        use(cache, 1, kibibytes=8)  # as another thread does meanwhile
        use(cache, 2)
        return attention_with_mask(8)

    cache.get("any", spec_at(1), prepare_slowly)(SLOPES, SLOPES, SLOPES, SLOPES)
    use(cache, 3)
    use(cache, 4)
    assert len(cache) == 4
    assert (
        cache._bytes == sum(tensor_bytes(each.attention) for each in cache._entries.values()) - 1024
    )


def test_a_shape_that_grew_after_it_was_weighed_is_weighed_again() -> None:
    cache, room = PreparedCache(8, 1 << 20), list[Tensor]()

    def attention(q: Tensor, *_: Tensor) -> Tensor:
        return torch.stack([q, *room]) if room else q

    cache.get("any", spec_at(1), lambda: attention)
    use(cache, 2, kibibytes=0)
    small = cache._bytes
    room.append(torch.zeros(KIBIBYTE))
    cache.get("any", spec_at(1), lambda: pytest.fail("it is there"))
    use(cache, 3, kibibytes=0)
    assert cache._bytes >= small + 4 * KIBIBYTE


def test_what_grew_before_another_shape_was_used_is_weighed_and_goes() -> None:
    cache, room = PreparedCache(8, 10 * KIBIBYTE), list[Tensor]()

    def attention(q: Tensor, *_: Tensor) -> Tensor:
        return torch.stack([q, *room]) if room else q

    cache.get("any", spec_at(1), lambda: attention)
    use(cache, 2, kibibytes=0)
    room.append(torch.zeros(5 * KIBIBYTE))
    cache.get("any", spec_at(1), lambda: pytest.fail("it is there"))
    use(cache, 2, kibibytes=0)
    use(cache, 3, kibibytes=0)
    assert [spec.q_len for _, spec in cache._entries] == [2, 3]
