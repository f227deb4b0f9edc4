"""The kernel reads a cache where it lies in pages: each slot once found, and nothing else read."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.effort import examples
from tests.variants.batches.problems import in_pages, numbers
from variants.attention import alibi_attention
from variants.batches.cache_norms import cache_norms
from variants.batches.pages import gather
from variants.native import torch_operator
from variants.native.kernel_arguments import EVERY_KEY
from variants.problem import alibi_slopes


def draw_pages(
    kv_lens: tuple[int, ...], page_size: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return pages of k and v with two heads of 24, and the arguments that say where they lie."""
    arguments, pages = in_pages(max(*kv_lens, 1), page_size, kv_lens)
    k, v = (numbers(seed, pages, 2, page_size, 24).to(dtype) for seed in (2, 3))
    return k, v, arguments


@given(
    kv_lens=st.lists(st.integers(0, 900), min_size=2, max_size=4),
    page_bits=st.integers(0, 9),
    q_len=st.integers(1, 16),
    group=st.sampled_from([1, 3]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
@settings(max_examples=examples(100), deadline=None)
def test_pages_are_answered_as_the_same_cache_in_one_piece(
    kv_lens: list[int], page_bits: int, q_len: int, group: int, dtype: torch.dtype
) -> None:
    k, v, arguments = draw_pages(tuple(kv_lens), 1 << page_bits, dtype)
    q = numbers(1, len(kv_lens), 2 * group, q_len, 24).to(dtype)
    q = q[:, :, : max(1, min(q_len, arguments["block_tables"].shape[1] << page_bits))]
    whole = (gather(part, arguments["block_tables"]) for part in (k, v))
    lens = arguments["kv_lens"]
    found = alibi_attention(q, k, v, **arguments, variant="native_window", return_lse=True)  # type: ignore[call-overload]
    wanted = alibi_attention(q, *whole, kv_lens=lens, variant="native_window", return_lse=True)
    for some, like in zip(found, wanted, strict=True):
        assert torch.equal(some, like)


def test_slots_that_are_free_and_pages_of_others_reach_nothing() -> None:
    k, v, arguments = draw_pages((37, 150), 16)
    q = numbers(1, 2, 2, 3, 24)
    wanted = alibi_attention(q, k, v, **arguments, variant="native_window")  # type: ignore[call-overload]
    used = torch.zeros(k.shape[0], 16, dtype=torch.bool)
    for table, kv_len in zip(arguments["block_tables"], (37, 150), strict=True):
        for slot in range(kv_len):
            used[table[slot // 16], slot % 16] = True
    assert not used.all()
    k, v = (part.masked_fill(~used[:, None, :, None], torch.nan) for part in (k, v))
    found = alibi_attention(q, k, v, **arguments, variant="native_window")  # type: ignore[call-overload]
    assert torch.equal(found, wanted)


def test_norms_of_a_cache_in_pages_are_read() -> None:
    k, v, arguments = draw_pages((900, 700), 64)
    q, slopes = 10 * numbers(1, 2, 2, 1, 24), torch.tensor([0.005, 0.02])
    whole = [gather(part, arguments["block_tables"]) for part in (k, v)]
    norms = cache_norms(*whole, kv_lens=arguments["kv_lens"])
    right = alibi_attention(q, k, v, slopes=slopes, **arguments, norms=norms)  # type: ignore[call-overload]
    small = alibi_attention(q, k, v, slopes=slopes, **arguments, norms=1e-6 * norms)  # type: ignore[call-overload]
    formula = alibi_attention(q, k, v, slopes=slopes, **arguments, variant="eager")  # type: ignore[call-overload]
    torch.testing.assert_close(right, formula, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(small, formula, rtol=1e-4, atol=1e-4)


def test_the_operator_finds_the_pages_of_lines_in_any_order_and_of_part_of_a_sequence() -> None:
    k, v, arguments = draw_pages((37, 90), 16)
    q, tables = numbers(1, 2, 2, 4, 24), arguments["block_tables"]
    whole_k, whole_v = (gather(part, tables) for part in (k, v))
    lines = torch.tensor([[1, 2, 2, 40, 50, 48], [0, 0, 4, 5, 32, 28], [1, 0, 2, 0, 40, 38]])
    slopes, attend = alibi_slopes(2), torch_operator.operator()
    found = attend(q, k, v, slopes, 0.2, EVERY_KEY, 0, lines, None, tables, True)
    wanted = attend(q, whole_k, whole_v, slopes, 0.2, EVERY_KEY, 0, lines, None, None, True)
    for some, like in zip(found, wanted, strict=True):
        assert torch.equal(some, like)


@pytest.mark.parametrize("pages", [2, 7])
@pytest.mark.parametrize("variant", ["native_window", "auto"])
def test_the_gradient_around_vmap_is_that_of_a_call_for_each_entry(
    variant: str, pages: int
) -> None:
    inputs = [
        numbers(seed, 2, *shape).requires_grad_()
        for seed, shape in enumerate([(2, 2, 1, 24), (pages, 2, 16, 24), (pages, 2, 16, 24)])
    ]
    tables, kv_lens = torch.tensor([[1], [0]]).int(), torch.tensor([9, 12])

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return alibi_attention(q, k, v, kv_lens=kv_lens, block_tables=tables, variant=variant)

    each = torch.stack([attend(*(part[entry] for part in inputs)) for entry in range(2)])
    wanted = torch.autograd.grad(each.square().sum(), inputs)
    found = torch.autograd.grad(torch.func.vmap(attend)(*inputs).square().sum(), inputs)
    for some, like in zip(found, wanted, strict=True):
        torch.testing.assert_close(some, like)


REFUSED = {
    "int64": (torch.zeros(2, 3, dtype=torch.int64), 16, 1, "give int32"),
    "another batch": (torch.zeros(3, 3).int(), 16, 1, "give int32"),
    "a page that is not there": (torch.full((2, 3), 9).int(), 16, 1, "leads out of the 9 pages"),
    "before the first page": (torch.full((2, 3), -1).int(), 16, 1, "leads out of the 9 pages"),
    "pages of 12 slots": (torch.zeros(2, 3).int(), 12, 1, "a power of two slots"),
    "one row": (torch.zeros(2).int(), 16, 1, "give int32"),
    "many queries": (torch.zeros(2, 3).int(), 16, 17, "for at most 16 queries"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_the_operator_refuses_pages_that_the_kernel_would_read_wrongly(mistake: str) -> None:
    tables, page_size, q_len, words = REFUSED[mistake]
    q, k = numbers(1, 2, 2, q_len, 24), numbers(2, 9, 2, page_size, 24)
    lines = torch.tensor([[entry, 0, q_len, 0, 20, 20 - q_len] for entry in range(2)])
    with pytest.raises(ValueError, match=words):
        torch_operator.operator()(
            *(q, k, k, alibi_slopes(2), 0.2, EVERY_KEY, 0, lines, None, tables, False)
        )


def test_the_operator_refuses_pages_without_lines_that_say_how_many_keys_there_are() -> None:
    q, k, tables = numbers(1, 2, 2, 1, 24), numbers(2, 9, 2, 16, 24), torch.zeros(2, 0).int()
    with pytest.raises(ValueError, match="block_tables needs sequences beside it"):
        torch_operator.operator()(
            *(q, k, k, alibi_slopes(2), 0.2, EVERY_KEY, 0, None, None, tables, False)
        )


def test_the_operator_refuses_more_keys_than_the_table_has() -> None:
    q, k = numbers(1, 2, 2, 1, 24), numbers(2, 9, 2, 16, 24)
    lines = torch.tensor([[entry, 0, 1, 0, 49, 48] for entry in range(2)])
    with pytest.raises(ValueError, match="it ends past 48"):
        torch_operator.operator()(
            *(
                q,
                k,
                k,
                alibi_slopes(2),
                0.2,
                EVERY_KEY,
                0,
                lines,
                None,
                torch.zeros(2, 3).int(),
                False,
            )
        )
