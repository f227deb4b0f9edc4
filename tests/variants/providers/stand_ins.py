"""Stand-ins for providers' functions: each computes what its project documents, in float64."""

import types
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from variants.problem import alibi_slopes


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Return softmax(q·k scale + bias) v for [batch, heads, rows, head_dim], in q's dtype."""
    groups = q.shape[1] // k.shape[1]
    keys, values = (each.double().repeat_interleave(groups, 1) for each in (k, v))
    scores = q.double() @ keys.transpose(-1, -2) * scale + bias.double()
    return (scores.softmax(-1) @ values).to(q.dtype)


def by_heads(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return [batch, rows, heads, head_dim] as [batch, heads, rows, head_dim]."""
    return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


def distances(q_len: int, kv_len: int) -> Tensor:
    """Return key - row, rows aligned bottom-right: [q_len, kv_len]."""
    return torch.arange(kv_len) - torch.arange(kv_len - q_len, kv_len)[:, None]


def hide_future(bias: Tensor, q_len: int, kv_len: int) -> Tensor:
    """Return a bias with -inf where a key comes after its row."""
    return bias.masked_fill(distances(q_len, kv_len) > 0, float("-inf"))


def module(name: str, **contents: Any) -> types.ModuleType:
    """Return a module with these contents."""
    made = types.ModuleType(name)
    vars(made).update(contents)
    return made


def flash_attn_func(
    q: Tensor, k: Tensor, v: Tensor, *, softmax_scale: float, causal: bool, alibi_slopes: Tensor
) -> Tensor:
    """FlashAttention 2: -slope * |i + kv_len - q_len - j| on [batch, rows, heads, head_dim]."""
    assert alibi_slopes.dtype == torch.float32
    q_len, kv_len = q.shape[1], k.shape[1]
    bias = -alibi_slopes[:, None, None] * distances(q_len, kv_len).abs()
    bias = hide_future(bias, q_len, kv_len) if causal else bias
    return attend(*by_heads(q, k, v), bias, softmax_scale).transpose(1, 2)


class Fragment:
    """A register fragment of CUTLASS's Python, of one element."""

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        assert size == 1
        self._value = torch.zeros(1, dtype=dtype)

    def store(self, value: Tensor) -> None:
        """Fill it."""
        self._value.copy_(value)

    def load(self) -> Tensor:
        """Return what is in it."""
        return self._value

    def __getitem__(self, place: int) -> int:
        return int(self._value[place])

    def __setitem__(self, place: int, value: Tensor) -> None:
        self._value[place] = value


def flash_attn_4_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    softmax_scale: float,
    causal: bool,
    score_mod: Callable[..., Tensor],
    aux_tensors: list[Tensor],
) -> tuple[Tensor, None]:
    """FlashAttention 4: score_mod on scaled scores; rows count from 0; causal bottom-right."""
    assert causal
    q_len, kv_len = q.shape[1], k.shape[1]
    rows, keys = torch.arange(q_len)[:, None], torch.arange(kv_len)
    bias = torch.stack(
        [
            score_mod(
                torch.zeros(q_len, kv_len),
                torch.zeros(1, dtype=torch.int32),
                torch.tensor([head], dtype=torch.int32),
                q_idx=rows,
                kv_idx=keys,
                seqlen_info=None,
                aux_tensors=aux_tensors,
            )
            for head in range(q.shape[2])
        ]
    )
    return attend(*by_heads(q, k, v), hide_future(bias, q_len, kv_len), softmax_scale).transpose(
        1, 2
    ), None


def flex_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    score_mod: Callable[..., Tensor],
    block_mask: object,
    scale: float,
    enable_gqa: bool,
    kernel_options: dict[str, str],
) -> Tensor:
    """FlexAttention with kernel options; the mask is causal."""
    assert kernel_options == {"BACKEND": "FLASH"}
    assert enable_gqa == (q.shape[1] != k.shape[1])
    assert block_mask == "a causal mask"
    q_len, kv_len = q.shape[2], k.shape[2]
    rows, keys = torch.arange(q_len)[:, None], torch.arange(kv_len)
    zero = torch.zeros(q_len, kv_len)
    bias = torch.stack([score_mod(zero, 0, head, rows, keys) for head in range(q.shape[1])])
    return attend(q, k, v, hide_future(bias, q_len, kv_len), scale)


class CudnnGraph:
    """cuDNN's graph of one attention: built once, then executed on tensors of its strides."""

    def __init__(self, **types_by_role: str) -> None:
        assert set(types_by_role.values()) == {"BFLOAT16", "FLOAT"}
        self._wanted: dict[str, Any] = {}

    def tensor_like(self, tensor: Tensor) -> object:
        """Return a name for an input."""
        return object()

    def sdpa(self, q: object, k: object, v: object, **wanted: Any) -> tuple["CudnnOutput", None]:
        """Note what is wanted; return a name for the output."""
        self._inputs, self._wanted = (q, k, v), wanted
        self._out = CudnnOutput()
        return self._out, None

    def build(self, heuristics: list[str]) -> None:
        """Take what was wanted as given."""
        assert self._out.strides

    def get_workspace_size(self) -> int:
        """Return the bytes of the room that `execute` gets."""
        return 16

    def execute(self, tensors: dict[object, Tensor], room: Tensor) -> None:
        """Write causal ALiBi attention of the usual slopes, as the options ask for it."""
        q, k, v = (tensors[name] for name in self._inputs)
        wanted, (q_len, kv_len) = self._wanted, (q.shape[2], k.shape[2])
        assert wanted["use_alibi_mask"]
        assert wanted["diagonal_band_right_bound"] == 0
        assert wanted["diagonal_alignment"] == "BOTTOM_RIGHT"
        assert not wanted["generate_stats"]
        assert room.numel() == self.get_workspace_size()
        bias = alibi_slopes(q.shape[1])[:, None, None] * distances(q_len, kv_len)
        bias = hide_future(bias, q_len, kv_len)
        tensors[self._out].copy_(attend(q, k, v, bias, wanted["attn_scale"]))


class CudnnOutput:
    """The output of a graph, whose place in memory is set."""

    strides: tuple[int, ...] = ()

    def set_output(self, is_output: bool) -> "CudnnOutput":
        """Make it an output."""
        assert is_output
        return self

    def set_dim(self, sizes: tuple[int, ...]) -> "CudnnOutput":
        """Set its shape."""
        return self

    def set_stride(self, strides: tuple[int, ...]) -> "CudnnOutput":
        """Set its strides."""
        self.strides = strides
        return self


def flashinfer_prefill(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool, pos_encoding_mode: str, sm_scale: float
) -> Tensor:
    """FlashInfer: slope * (key - row) of its own slopes, on contiguous [rows, heads, head_dim]."""
    assert causal
    assert pos_encoding_mode == "ALIBI"
    assert all(each.is_contiguous() for each in (q, k, v))
    q_len, kv_len = q.shape[0], k.shape[0]
    bias = alibi_slopes(q.shape[1])[:, None, None] * distances(q_len, kv_len)
    out = attend(*by_heads(q[None], k[None], v[None]), hide_future(bias, q_len, kv_len), sm_scale)
    return out[0].transpose(0, 1)


def flashinfer_decode(
    q: Tensor, k: Tensor, v: Tensor, *, pos_encoding_mode: str, sm_scale: float
) -> Tensor:
    """FlashInfer's decode: one row, [heads, head_dim]."""
    row = flashinfer_prefill(
        q[None], k, v, causal=True, pos_encoding_mode=pos_encoding_mode, sm_scale=sm_scale
    )
    return row[0]


def memory_efficient_attention(
    q: Tensor, k: Tensor, v: Tensor, *, attn_bias: Tensor, scale: float
) -> Tensor:
    """xformers: a dense bias [batch, heads, q_len, kv_len], whose rows begin at multiples of 8."""
    assert attn_bias.stride(-2) % 8 == 0
    assert attn_bias.dtype == q.dtype
    assert attn_bias.shape == (q.shape[0], q.shape[2], q.shape[1], k.shape[1])
    return attend(*by_heads(q, k, v), attn_bias, scale).transpose(1, 2)


class DotProductAttention:
    """TransformerEngine's module on [batch, rows, heads, head_dim]; rows come back flat."""

    def __init__(
        self,
        heads: int,
        head_dim: int,
        *,
        num_gqa_groups: int,
        attention_dropout: float,
        qkv_format: str,
        attn_mask_type: str,
        softmax_scale: float,
    ) -> None:
        assert (qkv_format, attention_dropout) == ("bshd", 0.0)
        assert attn_mask_type in {"causal_bottom_right", "no_mask"}
        self._causal = attn_mask_type != "no_mask"
        self._shape, self._kv_heads = (heads, head_dim), num_gqa_groups
        self._scale = softmax_scale

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        core_attention_bias_type: str,
        alibi_slopes: Tensor,
    ) -> Tensor:
        assert core_attention_bias_type == "alibi"
        assert q.shape[2:] == self._shape
        assert k.shape[2] == self._kv_heads
        out = flash_attn_func(
            q, k, v, softmax_scale=self._scale, causal=self._causal, alibi_slopes=alibi_slopes
        )
        return out.flatten(2)


def unified_attention(
    *,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    cu_seqlens_q: Tensor,
    max_seqlen_q: int,
    seqused_k: Tensor,
    max_seqlen_k: int,
    softmax_scale: float,
    causal: bool,
    window_size: tuple[int, int],
    block_table: Tensor,
    softcap: float,
    q_descale: None,
    k_descale: None,
    v_descale: None,
    alibi_slopes: Tensor,
) -> None:
    """vLLM: pages [pages, slots, kv_heads, head_dim], packed rows, slope * (key - context)."""
    assert causal
    assert k.shape[1] % 16 == 0
    assert (window_size, softcap) == ((-1, -1), 0.0)
    starts = cu_seqlens_q.tolist()
    for entry, (first, end) in enumerate(pairwise(starts)):
        kv_len, q_len = int(seqused_k[entry]), end - first
        assert q_len == max_seqlen_q
        assert kv_len <= max_seqlen_k
        table = block_table[entry].long()
        keys, values = (
            pages[table].flatten(0, 1)[:kv_len].transpose(0, 1)[None] for pages in (k, v)
        )
        bias = alibi_slopes[:, None, None] * (torch.arange(kv_len) - (kv_len - q_len)).float()
        bias = hide_future(bias.expand(-1, q_len, -1), q_len, kv_len)
        rows = q[first:end].transpose(0, 1)[None]
        out[first:end] = attend(rows, keys, values, bias, softmax_scale)[0].transpose(0, 1)
