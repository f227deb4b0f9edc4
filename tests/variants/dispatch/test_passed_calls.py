"""A call has the spec, or the error, that it has alone, whichever call passed the checks before."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from variants.attention import alibi_attention
from variants.batches.cache_norms import cache_norms
from variants.batches.sequences import Sequences
from variants.dispatch import call
from variants.dispatch.checks import passed_calls
from variants.dispatch.checks.batch_arguments import Settings
from variants.problem import alibi_slopes

SHAPE = BATCH, HEADS, LENGTH, DIM = 2, 2, 8, 16


@pytest.fixture(autouse=True)
def nothing_passed_yet() -> Iterator[None]:
    passed_calls._specs.clear()
    yield
    passed_calls._specs.clear()


def draw(*shape: int) -> Tensor:
    return torch.ones(shape or SHAPE)


def transposed() -> Tensor:
    return draw(BATCH, LENGTH, HEADS, DIM).transpose(1, 2)


CALLS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "fewer keys": lambda: {"k": draw(2, 2, 7, 16), "v": draw(2, 2, 7, 16), "causal": False},
    "bfloat16": lambda: {name: draw().bfloat16() for name in "qkv"},
    "float64": lambda: {name: draw().double() for name in "qkv"},
    "k of another dtype": lambda: {"k": draw().half()},
    "v of fewer keys": lambda: {"v": draw(2, 2, 7, 16)},
    "v of another head_dim": lambda: {"v": draw(2, 2, 8, 32)},
    "q of another head_dim": lambda: {"q": draw(2, 2, 8, 32)},
    "grouped heads": lambda: {"q": draw(2, 4, 8, 16)},
    "heads that share unevenly": lambda: {"q": draw(2, 3, 8, 16)},
    "q in a model's order": lambda: {"q": transposed()},
    "k in a model's order": lambda: {"k": transposed()},
    "q that learns": lambda: {"q": draw().requires_grad_()},
    "v that learns": lambda: {"v": draw().requires_grad_()},
    "sparse k": lambda: {"k": draw().to_sparse()},
    "q on meta": lambda: {"q": draw().to("meta")},
    "q without batch": lambda: {"q": draw(2, 8, 16)},
    "q without batch and heads": lambda: {"q": draw(8, 16)},
    "slopes": lambda: {"slopes": alibi_slopes(2)},
    "slopes of each entry": lambda: {"slopes": alibi_slopes(2).expand(2, 2)},
    "slopes that learn": lambda: {"slopes": alibi_slopes(2).requires_grad_()},
    "negative slopes": lambda: {"slopes": -alibi_slopes(2)},
    "slopes of other heads": lambda: {"slopes": alibi_slopes(3)},
    "slopes in a list": lambda: {"slopes": [0.5, 0.25]},
    "norms": lambda: {"norms": cache_norms(draw(), draw())},
    "norms of another batch": lambda: {"norms": cache_norms(draw(1, 2, 8, 16), draw(1, 2, 8, 16))},
    "norms that are slopes": lambda: {"norms": alibi_slopes(2)},
    "slopes that are norms": lambda: {"slopes": cache_norms(draw(), draw())},
    "bidirectional": lambda: {"causal": False},
    "causal as a number": lambda: {"causal": 0},
    "scale": lambda: {"scale": 0.5},
    "scale as a tensor": lambda: {"scale": torch.tensor(0.5)},
    "scale under 0": lambda: {"scale": -0.5},
    "window": lambda: {"window": (1, -1)},
    "window in a list": lambda: {"window": [1, -1]},
    "window of tensors": lambda: {"window": (torch.tensor(1), -1)},
    "offset": lambda: {"q_offset": 1},
    "offset as a truth": lambda: {"q_offset": True},
    "no offset at all": lambda: {"q_offset": False},
    "dropout": lambda: {"dropout_p": 0.5},
    "dropout of all": lambda: {"dropout_p": 1},
    "dropout as a truth": lambda: {"dropout_p": True},
    "log-sum-exp": lambda: {"return_lse": True},
    "kv_lens": lambda: {"kv_lens": torch.tensor([8, 3])},
    "kv_lens in int32": lambda: {"kv_lens": torch.tensor([8, 3], dtype=torch.int32)},
    "kv_lens under 0": lambda: {"kv_lens": torch.tensor([8, -1])},
    "kv_lens and norms": lambda: {
        "kv_lens": torch.tensor([8, 3]),
        "norms": cache_norms(draw(), draw()),
    },
    "kv_lens and padding": lambda: {
        "kv_lens": torch.tensor([8, 3]),
        "key_padding": torch.zeros(2, 8, dtype=torch.bool),
    },
    "kv_lens that are slopes": lambda: {"kv_lens": alibi_slopes(2)},
    "slopes that are kv_lens": lambda: {"slopes": torch.tensor([8, 3])},
    "kv_lens over the room": lambda: {"kv_lens": torch.tensor([9, 3])},
    "padding": lambda: {"key_padding": torch.zeros(2, 8, dtype=torch.bool)},
    "packed": lambda: {"cu_seqlens": torch.tensor([0, 8])},
    "packed keys alone": lambda: {"cu_seqlens_k": torch.tensor([0, 8])},
    "autocast": lambda: {"context": torch.autocast("cpu", torch.bfloat16)},
    "without gradients": lambda: {"q": draw().requires_grad_(), "context": torch.no_grad()},
}


def outcome(name: str) -> tuple[Any, ...]:
    """Return the spec and the tensors' dtypes of a checked call, or the words of its error."""
    given = CALLS[name]()
    context = given.pop("context", nullcontext())
    tensors = [given.pop(part, None) for part in "qkv"]
    q, k, v = (draw() if part is None else part for part in tensors)
    slopes = given.pop("slopes", None)
    settings = Settings(**{key: given.pop(key) for key in Settings._fields if key in given})
    try:
        with context:
            checked = call.check_call(q, k, v, slopes, Sequences(**given), settings)
    except ValueError as error:
        return (str(error),)
    dtypes = [part.dtype for part in (checked.q, checked.k, checked.v)]
    return checked.spec, dtypes, checked.slopes.tolist(), checked.sequences.norms is None


@pytest.mark.parametrize("second", CALLS)
def test_no_call_before_changes_what_a_call_is(second: str) -> None:
    alone = outcome(second)
    for first in CALLS:
        passed_calls._specs.clear()
        outcome(first)
        assert outcome(second) == alone, first
        assert outcome(second) == alone, "the same again"


def test_many_of_these_calls_fail_and_many_pass() -> None:
    passed = [len(outcome(name)) > 1 for name in CALLS]
    assert min(passed.count(True), passed.count(False)) >= 20


@pytest.mark.parametrize(
    "name", ["plain", "norms", "slopes", "kv_lens", "q that learns", "window", "dropout"]
)
def test_a_call_like_one_before_is_not_checked_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = outcome(name)
    monkeypatch.delattr(call, "check_together")
    assert outcome(name) == first


@pytest.mark.parametrize("name", ["padding", "packed", "autocast", "scale as a tensor"])
def test_what_has_values_to_look_at_or_can_change_is_checked_each_time(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome(name)
    monkeypatch.delattr(call, "check_together")
    with pytest.raises(NameError):
        outcome(name)


def test_slopes_that_became_negative_in_place_are_refused() -> None:
    slopes = alibi_slopes(HEADS)
    alibi_attention(draw(), draw(), draw(), slopes=slopes)
    slopes.neg_()
    with pytest.raises(ValueError, match="slope -"):
        alibi_attention(draw(), draw(), draw(), slopes=slopes)


def test_lengths_that_outgrew_the_cache_in_place_are_refused() -> None:
    kv_lens = torch.tensor([7, 8])
    for _ in range(2):
        alibi_attention(draw(), draw(), draw(), kv_lens=kv_lens)
    kv_lens.add_(1)
    with pytest.raises(ValueError, match="kv_lens has 9: give 0 to 8"):
        alibi_attention(draw(), draw(), draw(), kv_lens=kv_lens)


def test_calls_in_a_transform_are_checked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(q: Tensor) -> Tensor:
        return alibi_attention(q, draw(), draw(), variant="eager").sum()

    monkeypatch.setattr(passed_calls, "note", lambda *_: pytest.fail("noted"))
    assert torch.func.grad(loss)(draw()).shape == SHAPE


def test_no_more_than_so_many_calls_are_remembered() -> None:
    lengths = itertools.count(1)
    for length in itertools.islice(lengths, passed_calls.PASSED_AT_MOST + 5):
        k = torch.ones(1, 1, length, 16)
        call.check_call(k[:, :, -1:], k, k, None, Sequences(), Settings())
    assert len(passed_calls._specs) == 5
