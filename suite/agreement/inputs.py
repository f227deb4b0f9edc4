"""The tensors of a case, and the spec that a variant prepares for.

All variants get the same numbers. The check before timing and the check after it use different
ones, and so does every seed.
"""

import hashlib
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from suite.cases.case import PAGE_SIZE, Case
from suite.recordings.tensors import draw_recorded, load
from variants.problem import Attention, Spec, alibi_slopes

PrepareFunction = Callable[[Spec], Attention]

SMALL_SCORES = 0.3


@dataclass(frozen=True)
class Inputs:
    """The tensors of one call; `dout`, of q's shape, is the output's gradient, or None.

    q is [batch, heads, q_len, head_dim], k and v are [batch, kv_heads, kv_len, head_dim], all in
    the case's dtype. slopes is [heads], float32. `norms` are those of k and v, where the caller
    keeps them: [batch, kv_heads, 2, blocks], float32. In layout `paged` a call gets `k_pages` and
    `v_pages` [pages, kv_heads, PAGE_SIZE, head_dim] and `block_tables` int32 [batch, pages of a
    sequence] in place of k and v, which hold the same numbers for the oracle.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    slopes: Tensor
    dout: Tensor | None
    norms: Tensor | None = None
    k_pages: Tensor | None = None
    v_pages: Tensor | None = None
    block_tables: Tensor | None = None

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        """The tensors that attention is called with."""
        given = [self.q, self.k, self.v, self.slopes, self.block_tables, self.norms]
        if self.block_tables is not None:
            given[1:3] = [self.k_pages, self.v_pages]
        return tuple(tensor for tensor in given if tensor is not None)

    def by_name(self) -> dict[str, Tensor]:
        """Return the tensors by name, without those that are None."""
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}


def spec_of(case: Case, device: torch.device, kv_len: int | None = None) -> Spec:
    """Return the spec of a case, as a variant gets it before it sees a tensor.

    `kv_len` replaces the case's in the spec of one decode step.
    """
    packed_len = sum(case.seq_lens) if case.form == "packed" else None
    return Spec(
        batch=case.batch if packed_len is None else 1,
        heads=case.heads,
        kv_heads=case.kv_heads,
        q_len=sum(case.q_lens) or packed_len or case.q_len,
        kv_len=packed_len or kv_len or case.kv_len,
        head_dim=case.head_dim,
        dtype=getattr(torch, case.dtype),
        device=device,
        scale=case.scale_value,
        causal=case.causal,
        needs_grad=case.mode == "backward",
        layout="bhnd" if case.layout == "paged" else case.layout,
        seq_lens=case.seq_lens,
        packed=packed_len is not None,
        **_newer_fields(case),
    )


def _newer_fields(case: Case) -> dict[str, Any]:
    """Return the fields of a spec that say what a case wants beyond dense attention, if anything.

    Imported here, because `ab` runs trees whose specs have no such fields.
    """
    if not (case.window or case.padding or case.q_lens or case.norms):
        return {}
    extras = importlib.import_module("variants.problem").Extras(
        sequences=_kind_of(case),
        window=(case.window, -1 if case.causal else case.window) if case.window else (-1, -1),
        **({"norms": True} if case.norms else {}),
    )
    return {"extras": extras, **({"q_lens": case.q_lens} if case.q_lens else {})}


def _kind_of(case: Case) -> str:
    """Return how variants are told of the sequences of a case (variants.problem.SequenceKind)."""
    if case.q_lens:
        return "cu_seqlens_k"
    if case.form == "packed":
        return "cu_seqlens"
    return "key_padding" if case.padding else "whole"


def slopes_of(case: Case) -> Tensor:
    """Return the slopes of a case's recording, or else of its rule: [heads], float32."""
    recorded = load(case.recording).slopes if case.recording else None
    if recorded is not None:
        return recorded
    slopes = alibi_slopes(case.heads, case.bias_max)
    return slopes * case.head_dim**-0.5 if case.slope_scale == "1/sqrt(d)" else slopes


def draw(case: Case, seed: int, stage: str, device: torch.device) -> Inputs:
    """Draw standard normal inputs, times the case's logit scale, rounded to its dtype.

    Those of a recording are drawn from it instead.

    The numbers depend on the seed, the case and the stage ("set 0", "set 1", ... are timed, "after"
    comes after timing). They also differ between CPU and GPU: each draws its own, because a CPU
    takes seconds for 32 heads of 32768 keys. After timing the slopes are reversed, so that a
    variant that stored something of the first slopes disagrees with the oracle. dout is zero in
    padding. Padding that a variant is told of holds NaN. Inputs of the stage "uneven" have small
    scores, and tokens that are far larger than others, as trained models have.
    """
    key = hashlib.blake2b(f"{seed} {case.id} {stage}".encode(), digest_size=7).digest()
    number = int.from_bytes(key, "big")
    generator = torch.Generator(device).manual_seed(number)
    spec = spec_of(case, device)

    def normal(heads: int, length: int, factor: float) -> Tensor:
        shape = (spec.batch, heads, length, spec.head_dim)
        tensor = torch.randn(shape, generator=generator, device=device) * factor
        return _with_layout(tensor.to(spec.dtype), case.layout)

    if case.recording:
        drawn = draw_recorded(case.recording, spec.q_len, spec.kv_len, number)
        q, k, v = (_with_layout(each.to(device, spec.dtype), case.layout) for each in drawn)
    else:
        q = normal(case.heads, spec.q_len, case.logit_scale)
        k, v = (normal(case.kv_heads, spec.kv_len, case.logit_scale) for _ in range(2))
    dout = normal(case.heads, spec.q_len, 1.0) if spec.needs_grad else None
    if stage == "uneven":
        _make_uneven(q, k, v)
    if case.seq_lens and case.form == "padded":
        _fill_padding(case, q, k, v, dout)
    for tensor in (q, k, v):
        tensor.requires_grad_(spec.needs_grad)
    slopes = slopes_of(case)
    slopes = (slopes.flip(0) if stage == "after" else slopes).to(device)
    pages = in_pages(k, v, generator) if case.layout == "paged" else ()
    return Inputs(q, k, v, slopes, dout, _norms_of(case, k, v), *pages)


def _with_layout(tensor: Tensor, layout: str) -> Tensor:
    """Return [batch, heads, length, head_dim] in the memory order of a case's layout."""
    if layout == "bnhd":
        return tensor.transpose(1, 2).contiguous().transpose(1, 2)
    return tensor.contiguous()


def _fill_padding(case: Case, q: Tensor, k: Tensor, v: Tensor, dout: Tensor | None) -> None:
    """Write zeros over dout in padding, and NaN over q, k and v if a variant is told of it."""
    is_padding = padding_of(case, q.device)[:, None, :, None]
    if dout is not None:
        dout.masked_fill_(is_padding, 0.0)
    if case.padding:
        for tensor in (q, k, v):
            tensor.masked_fill_(is_padding, math.nan)


def in_pages(k: Tensor, v: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return k and v in shuffled pages, with heads innermost but one, and where each page went.

    The free slots of last pages, and an extra page for each eight, hold NaN: no sequence has them.
    """
    batch, _, kv_len, _ = k.shape
    each = -(-kv_len // PAGE_SIZE)
    order = torch.randperm(batch * each * 9 // 8 + 1, generator=generator, device=k.device)
    tables = order[: batch * each].reshape(batch, each)

    def to_pages(whole: Tensor) -> Tensor:
        room = pad(whole, (0, 0, 0, each * PAGE_SIZE - kv_len), value=math.nan)
        by_page = room.unflatten(2, (each, PAGE_SIZE)).permute(0, 2, 3, 1, 4)
        pages: Tensor = by_page.new_full((len(order), *by_page.shape[2:]), math.nan)
        pages[tables] = by_page
        return pages.transpose(1, 2)

    return to_pages(k), to_pages(v), tables.int()


def _norms_of(case: Case, k: Tensor, v: Tensor) -> Tensor | None:
    """Return the norms of a case's cache, if the caller keeps them; older trees have none."""
    if not case.norms:
        return None
    norms: Tensor = importlib.import_module("variants.batches.cache_norms").cache_norms(k, v)
    return norms


def padding_of(case: Case, device: torch.device) -> Tensor:
    """Return which tokens of a ragged case's padded form are padding: bool [batch, kv_len]."""
    slots = torch.arange(case.kv_len, device=device)
    lengths = torch.tensor(case.seq_lens, device=device)[:, None]
    return slots < case.kv_len - lengths if case.padding == "left" else slots >= lengths


def _make_uneven(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Make some tokens 30 or 1000 times as large; scores are small, so that far values count."""
    q *= SMALL_SCORES
    k *= SMALL_SCORES
    first, second = v.shape[2] // 5, v.shape[2] // 3
    v[:, :, :first] *= 1000
    v[:, :, second : second + 8] *= 30
    k[:, :, second + 8] *= 30
    q[:, :, -first : -first + 3] *= 30
