"""Calls of every form of batch, their answers and gradients in float64, and garbage in padding."""

import math
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor

from tests.variants.batches.oracle import Answer, answer
from tests.variants.batches.problems import numbers, padding, problem
from tests.variants.formula import TOLERANCE

TAKE_ALL = ("eager", "sdpa_mask", "flex", "native_window", "auto")
GARBAGE = (math.nan, math.inf, 3e38, -3e38)
COMPILED = ("flex", "compile")
SOME_FORMS = (
    *(
        "padded both, bidirectional",
        "packed",
        "mixed",
        "window, both sides",
        "slopes by batch entry",
    ),
    *(
        "padded left",
        "pages, a step",
        "static cache, a step",
        "one kv head",
        "an earlier chunk of keys",
    ),
)
"""Forms that show all that COMPILED do in another way; each makes a graph, which takes a second."""
BATCHES: dict[str, dict[str, Any]] = {
    "padded left": {"key_padding": padding(70, (40, 70), (0, 70))},
    "padded right": {"key_padding": padding(70, (0, 31), (0, 70))},
    "padded left, a step": {"key_padding": padding(70, (40, 70), (3, 70)), "q_len": 1},
    "padded both, bidirectional": {"key_padding": padding(70, (9, 60), (0, 5)), "causal": False},
    "padding alone": {"key_padding": padding(70, (0, 0), (1, 70))},
    "cross-attention": {
        "key_padding": padding(70, (9, 60), (0, 5)),
        "causal": False,
        "q_offset": 3,
        "q_len": 90,
    },
    "packed": {"cu_seqlens": torch.tensor([0, 5, 5, 64, 66]), "batch": 1},
    "packed, bidirectional": {
        "cu_seqlens": torch.tensor([0, 33, 70], dtype=torch.int32),
        "batch": 1,
        "causal": False,
    },
    "mixed": {
        "cu_seqlens": torch.tensor([0, 1, 1, 24, 25]),
        "cu_seqlens_k": torch.tensor([0, 9, 12, 50, 66]),
        "batch": 1,
        "q_len": 28,
    },
    "mixed, bidirectional": {
        "cu_seqlens": torch.tensor([0, 20, 25, 45], dtype=torch.int32),
        "cu_seqlens_k": torch.tensor([0, 20, 30, 70], dtype=torch.int32),
        "batch": 1,
        "q_len": 45,
        "kv_heads": 2,
        "causal": False,
    },
    "mixed, with a window": {
        "cu_seqlens": torch.tensor([0, 30, 31]),
        "cu_seqlens_k": torch.tensor([0, 30, 70]),
        "batch": 1,
        "q_len": 31,
        "window": (12, 0),
    },
    "static cache, a step": {"kv_lens": torch.tensor([17, 70], dtype=torch.int32), "q_len": 1},
    "static cache, a chunk": {"kv_lens": torch.tensor([17, 3]), "q_len": 9},
    "pages, a step": {"page_size": 16, "kv_lens": (17, 70), "q_len": 1, "kv_heads": 2},
    "pages, some tokens": {"page_size": 32, "kv_lens": (9, 70), "q_len": 9, "window": (20, 0)},
    "pages, a chunk": {"page_size": 16, "kv_lens": (40, 70), "q_len": 40, "value_dim": 24},
    "pages of an odd size": {"page_size": 12, "kv_lens": (0, 70), "q_len": 2},
    "empty cache": {"kv_lens": torch.tensor([0, 70]), "q_len": 2},
    "window": {"window": (12, 0)},
    "window of a query alone": {"window": (0, 0)},
    "window, both sides": {"window": (12, 5), "causal": False},
    "window, after alone": {"window": (-1, 5), "causal": False},
    "windowed padding": {"window": (12, 3), "key_padding": padding(70, (9, 60), (0, 5))},
    "an earlier chunk of keys": {"q_offset": 100, "q_len": 40},
    "a later chunk of keys": {"q_offset": -30, "q_len": 40},
    "slopes by batch entry": {"slopes": torch.tensor([[0.5, 0.1, 0.01, 0.2], [0.3, 0.0, 1, 0.02]])},
    "values of more dimensions": {"value_dim": 24},
    "values of fewer dimensions": {"value_dim": 8},
    "one kv head": {"kv_heads": 1, "key_padding": padding(70, (40, 70), (0, 70))},
}
"""Arguments of calls, and shapes where they are not those of `problem`, by what is special."""


@cache
def answer_to(batch: str) -> Answer:
    """Return the answer to a call of BATCHES in float32; the oracle takes a tenth of a second."""
    inputs, arguments = problem(**BATCHES[batch])
    return answer(*inputs, **arguments)


def d_out_of(out: Tensor) -> Tensor:
    """Draw a gradient of an output."""
    return numbers(4, *out.shape)


@cache
def gradients_of(batch: str) -> tuple[Tensor, ...]:
    """Return the gradients of q, k and v of a call of BATCHES."""
    inputs, arguments = problem(**BATCHES[batch])
    wide = [tensor.double().requires_grad_() for tensor in inputs]
    out = answer(*wide, **arguments).out
    return torch.autograd.grad((out * d_out_of(out)).sum(), wide)


def assert_right(out: Tensor, wanted: Tensor, dtype: torch.dtype = torch.float32) -> None:
    error = TOLERANCE[dtype]
    torch.testing.assert_close(out.double(), wanted, rtol=error, atol=error)


def poison_padding(tokens: Tensor, is_padding: Tensor, value: float) -> Tensor:
    """Return [batch, heads, length, dim] with a value in all of the padding [batch, length]."""
    return tokens.masked_fill(is_padding[:, None, :, None], value)


def padding_of(kv_len: int, arguments: dict[str, Any]) -> Tensor:
    """Return which keys are padding: bool [batch or 1, kv_len]."""
    slots = torch.arange(kv_len)[None]
    if "key_padding" in arguments:
        is_padding: Tensor = arguments["key_padding"]
        return is_padding
    if "kv_lens" in arguments:
        return slots >= cast(Tensor, arguments["kv_lens"])[:, None]
    ends = arguments.get("cu_seqlens_k", arguments.get("cu_seqlens"))
    return slots >= (kv_len if ends is None else ends[-1])
