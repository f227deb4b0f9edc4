"""BLOOM, MPT and Falcon of transformers: one layer, random weights, and what its attention does.

A whole model runs, so that bias, mask and cache are its own; hooks hear what enters its attention
and what leaves it before the output projection. Which of its paths is the truth:

BLOOM and MPT have one each. BLOOM adds slope * key rounded to the model's dtype, MPT slope *
(key - last key) in float32, with slopes of bias_max 8 whatever its configuration says.

Falcon's is sdpa, its default: the model adds its bias to the mask, over sqrt(head_dim), and the
attention module leaves it at that. On the eager path the module adds the bias once more. Both
round it to bfloat16 in every dtype, which is why a truth is computed in `OneDtype`, float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from transformers import BloomConfig, BloomModel, FalconConfig, FalconModel, MptConfig, MptModel
from transformers.cache_utils import DynamicCache

from suite.cases.case import Case, Dtype
from suite.cases.models import built_in
from tests.peers.one_dtype import OneDtype

BATCH = 2
TOKENS = (150, 5, 1)
"""Of each call of a model, which keeps its keys: a prompt, a few more, and one as in decoding."""


def _bloom(hidden: int, heads: int) -> Any:
    return BloomModel(
        BloomConfig(
            vocab_size=3,
            n_layer=1,
            hidden_size=hidden,
            n_head=heads,
            initializer_range=hidden**-0.5,
        )
    )


def _mpt(hidden: int, heads: int, bias_max: int = 8) -> Any:
    return MptModel(
        MptConfig(
            vocab_size=3,
            n_layers=1,
            d_model=hidden,
            n_heads=heads,
            initializer_range=hidden**-0.5,
            attn_config={"alibi_bias_max": bias_max},
        )
    )


def _falcon(hidden: int, heads: int, path: str = "sdpa") -> Any:
    return FalconModel(
        FalconConfig(
            vocab_size=12,
            num_hidden_layers=1,
            hidden_size=hidden,
            num_attention_heads=heads,
            initializer_range=hidden**-0.5,
            alibi=True,
            multi_query=False,
            parallel_attn=False,
            bias=True,
            attn_implementation=path,
        )
    )


def _queries_by_head(projected: Tensor, heads: int) -> Tensor:
    batch, rows, _ = projected.shape
    return projected.view(batch, rows, heads, 3, -1)[..., 0, :]


def _queries_by_third(projected: Tensor, heads: int) -> Tensor:
    batch, rows, _ = projected.shape
    return projected.view(batch, rows, 3, heads, -1)[:, :, 0]


@dataclass(frozen=True)
class Peer:
    """A family of models: how to build one, where its attention is, and whose conventions it has.

    `build` takes hidden, heads and options of its own; `queries` finds [batch, rows, heads,
    head_dim] in the output of the input projection; `preset` is a row of suite/models.json.
    """

    name: str
    preset: str
    build: Callable[..., Any]
    attention: str
    projections: tuple[str, str]
    queries: Callable[[Tensor, int], Tensor]

    def __str__(self) -> str:
        return self.name


BLOOM = Peer(
    "bloom",
    "bloom-560m",
    _bloom,
    "h.0.self_attention",
    ("query_key_value", "dense"),
    _queries_by_head,
)
MPT = Peer("mpt", "mpt-7b", _mpt, "blocks.0.attn", ("Wqkv", "out_proj"), _queries_by_third)
FALCON = Peer(
    "falcon",
    "falcon-rw-1b",
    _falcon,
    "h.0.self_attention",
    ("query_key_value", "dense"),
    _queries_by_head,
)
PEERS = (BLOOM, MPT, FALCON)


@dataclass(frozen=True)
class ModelCall:
    """One call of a model's attention: its inputs and three answers to them.

    q and the answers are [batch, heads, rows, head_dim], k and v [batch, heads, keys, head_dim].
    `answer` is the model's, in the case's dtype. `truth` and `in_float32` are what its code makes
    of the same q, k and v where every dtype it names is float64, or float32.
    """

    case: Case
    q: Tensor
    k: Tensor
    v: Tensor
    answer: Tensor
    truth: Tensor
    in_float32: Tensor


@cache
def model_calls(
    peer: Peer, heads: int, head_dim: int, dtype: Dtype, **options: int | str
) -> tuple[ModelCall, ...]:
    """Run a model over all of TOKENS and return what its attention did in each call."""
    torch.manual_seed(0)
    model = peer.build(heads * head_dim, heads, **options).eval()
    tokens = torch.randn(BATCH, sum(TOKENS), heads * head_dim)
    projected: list[Tensor] = []

    def keep(output: Tensor) -> Tensor:
        projected.append(output)
        return output

    answers, past = _run(model.to(getattr(torch, dtype)), peer, tokens, keep)
    truth = _replay(model, peer, tokens, projected, torch.float64)
    in_float32 = _replay(model, peer, tokens, projected, torch.float32)
    keys, values = past.layers[0].keys, past.layers[0].values  # [batch, heads, tokens, head_dim]
    return tuple(
        ModelCall(
            case=case,
            q=peer.queries(projected[call], heads).transpose(1, 2).contiguous(),
            k=keys[:, :, : case.kv_len].contiguous(),
            v=values[:, :, : case.kv_len].contiguous(),
            answer=_by_head(answers[call], heads),
            truth=_by_head(truth[call], heads),
            in_float32=_by_head(in_float32[call], heads),
        )
        for call, case in enumerate(cases_of(peer, heads, head_dim, dtype))
    )


def cases_of(peer: Peer, heads: int, head_dim: int, dtype: Dtype) -> list[Case]:
    """Return the cases that a model's calls are, in the conventions of its preset."""
    preset = built_in()[peer.preset]
    return [
        Case(
            heads=heads,
            kv_heads=heads,
            head_dim=head_dim,
            q_len=q_len,
            kv_len=kv_len,
            dtype=dtype,
            batch=BATCH,
            bias_max=preset.bias_max,
            slope_scale=preset.slope_scale,
            scale=preset.scale,
        )
        for q_len, kv_len in zip(TOKENS, accumulate(TOKENS), strict=True)
    ]


def _by_head(answer: Tensor, heads: int) -> Tensor:
    batch, rows, _ = answer.shape
    return answer.view(batch, rows, heads, -1).transpose(1, 2)


def _replay(
    model: Any, peer: Peer, tokens: Tensor, projected: list[Tensor], dtype: torch.dtype
) -> list[Tensor]:
    """Return the attention's answers in `dtype` to what was projected before."""
    again = iter(projected)
    with OneDtype(dtype):
        return _run(model.to(dtype), peer, tokens, lambda _: next(again).to(dtype))[0]


def _run(
    model: Any, peer: Peer, tokens: Tensor, projection: Callable[[Tensor], Tensor]
) -> tuple[list[Tensor], DynamicCache]:
    """Call a model with each of TOKENS; return its attention's answers and its cache.

    `projection` gets what the input projection puts out and says what goes on instead.
    """
    answers: list[Tensor] = []

    def on_entry(module: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return projection(output)

    def on_exit(module: Any, inputs: tuple[Tensor]) -> None:
        answers.append(inputs[0])

    entry, exit_ = (model.get_submodule(f"{peer.attention}.{name}") for name in peer.projections)
    past = DynamicCache()
    with (
        torch.no_grad(),
        entry.register_forward_hook(on_entry),
        exit_.register_forward_pre_hook(on_exit),
    ):
        for part in torch.split(tokens.to(model.dtype), list(TOKENS), dim=1):
            model(inputs_embeds=part, past_key_values=past, use_cache=True)
    return answers, past
