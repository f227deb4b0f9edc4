"""Arguments about a batch that do not fit are refused with what would."""

from typing import Any

import pytest
import torch

from tests.variants.batches.problems import padding, problem
from variants.attention import alibi_attention

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two forms": (
        {"key_padding": padding(70, (0, 70), (0, 70)), "kv_lens": torch.tensor([1, 2])},
        "key_padding and kv_lens are given: each says it all, give one",
    ),
    "padding's shape": (
        {"key_padding": padding(69, (0, 69), (0, 69))},
        r"key_padding is torch.bool \[2, 69\] on cpu: give bool \[2, 70\] on cpu",
    ),
    "padding's dtype": (
        {"key_padding": torch.zeros(2, 70)},
        r"key_padding is torch.float32 .*: give bool \[2, 70\]",
    ),
    "padding as a list": ({"key_padding": [[False] * 70] * 2}, "key_padding is a list: give a"),
    "packed batch of two": (
        {"cu_seqlens": torch.tensor([0, 70])},
        "are a batch of 1 with as many queries as keys",
    ),
    "packed with an offset": (
        {"cu_seqlens": torch.tensor([0, 70]), "batch": 1, "q_offset": 3},
        "the queries of a packed sequence are its last tokens",
    ),
    "packed, falling": (
        {"cu_seqlens": torch.tensor([0, 50, 40]), "batch": 1},
        r"cu_seqlens \[0, 50, 40\]: give 0 and the end of each sequence, rising to at most 70",
    ),
    "packed past the end": (
        {"cu_seqlens": torch.tensor([0, 71]), "batch": 1},
        "rising to at most 70, the number of tokens",
    ),
    "packed, not from 0": ({"cu_seqlens": torch.tensor([1, 70]), "batch": 1}, "give 0 and the end"),
    "packed, empty": ({"cu_seqlens": torch.tensor([]).int(), "batch": 1}, "cu_seqlens is empty"),
    "keys of packed sequences alone": (
        {"cu_seqlens_k": torch.tensor([0, 70]), "batch": 1},
        "cu_seqlens_k is given alone: give the queries' cu_seqlens beside it",
    ),
    "keys of fewer sequences": (
        {"cu_seqlens": torch.tensor([0, 9, 70]), "cu_seqlens_k": torch.tensor([0, 70]), "batch": 1},
        "cu_seqlens has 3 numbers and cu_seqlens_k 2: both are of the same sequences",
    ),
    "fewer keys than queries": (
        {
            "cu_seqlens": torch.tensor([0, 9, 70]),
            "cu_seqlens_k": torch.tensor([0, 8, 69]),
            "batch": 1,
        },
        r"sequence 0 has 9 queries \(cu_seqlens\) and 8 keys \(cu_seqlens_k\)",
    ),
    "keys past the end": (
        {"cu_seqlens": torch.tensor([0, 9]), "cu_seqlens_k": torch.tensor([0, 71]), "batch": 1},
        r"cu_seqlens_k \[0, 71\]: give 0 and the end of each sequence, rising to at most 70",
    ),
    "pages without lengths": (
        {"block_tables": torch.zeros(2, 3).int()},
        "block_tables needs kv_lens beside it",
    ),
    "pages as a list": (
        {"block_tables": [[0], [1]], "kv_lens": torch.tensor([3, 4])},
        r"block_tables is a list: give a tensor, int32 \[2, pages of a sequence\] on cpu",
    ),
    "pages of one sequence too few": (
        {"block_tables": torch.zeros(1, 3).int(), "kv_lens": torch.tensor([3, 4])},
        r"block_tables is torch.int32 \[1, 3\] on cpu: give int32 \[2, pages",
    ),
    "pages that are not there": (
        {"block_tables": torch.full((2, 3), 2).int(), "kv_lens": torch.tensor([3, 4])},
        "block_tables has 2: give 0 to 1, the pages of k and v",
    ),
    "more slots than the table has": (
        {"block_tables": torch.zeros(2, 3).int(), "kv_lens": torch.tensor([3, 211])},
        "kv_lens has 211: give 0 to 210, the room of the cache",
    ),
    "pages of padded sequences": (
        {
            "block_tables": torch.zeros(2, 1).int(),
            "kv_lens": torch.tensor([3, 4]),
            "key_padding": padding(70, (0, 70), (0, 70)),
        },
        "key_padding and kv_lens are given: each says it all, give one",
    ),
    "cache over its room": (
        {"kv_lens": torch.tensor([3, 71])},
        "kv_lens has 71: give 0 to 70, the room of the cache",
    ),
    "cache under 0": ({"kv_lens": torch.tensor([3, -1])}, "kv_lens has -1: give 0 to 70"),
    "cache as floats": ({"kv_lens": torch.tensor([3.0, 4.0])}, r"give int32 \[2\] on cpu"),
    "offset as a float": ({"q_offset": 0.5}, "q_offset 0.5: give a whole number"),
    "offset too far": ({"q_offset": 1 << 30}, "positions count to 16777216"),
    "window as a number": ({"window": 5}, r"window 5: give \(before, after\)"),
    "window under -1": ({"window": (-2, 0)}, r"window \(-2, 0\): give \(before, after\)"),
    "dropout of all": ({"dropout_p": 1.0}, "dropout_p 1.0: give a share from 0 to under 1"),
    "dropout under 0": ({"dropout_p": -0.1}, "dropout_p -0.1: give a share"),
    "slopes of three entries": ({"slopes": torch.ones(3, 4)}, r"\[4\] or \[2, 4\] on cpu"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_does_not_fit_is_refused_with_what_would(mistake: str) -> None:
    change, words = REFUSED[mistake]
    inputs, arguments = problem(**change)
    with pytest.raises(ValueError, match=words):
        alibi_attention(*inputs, **arguments, variant="eager")


@pytest.mark.parametrize("mistake", REFUSED)
def test_an_export_to_onnx_refuses_it_too(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, words = REFUSED[mistake]
    inputs, arguments = problem(**change)
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    with pytest.raises(ValueError, match=words):
        alibi_attention(*inputs, **arguments)


def test_more_queries_than_keys_need_an_offset() -> None:
    (q, k, v), arguments = problem()
    with pytest.raises(ValueError, match="q_offset says where they stand"):
        alibi_attention(q, k[:, :, :9], v[:, :, :9], **arguments)
