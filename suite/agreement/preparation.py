"""How a variant is prepared for a case: as dense attention, or told of sequences and window.

Modules of variants are imported by name here, because `ab` runs trees that lack some of them.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import torch
from torch import Tensor

from suite.agreement.inputs import PrepareFunction, padding_of
from suite.cases.case import PAGE_SIZE, Case
from suite.kernels.variant_module import short_name, variant_module
from variants.problem import Attention, Spec, Unsupported


def prepare_function(
    module_name: str, options: Mapping[str, str | float | bool], case: Case, device: torch.device
) -> PrepareFunction:
    """Return a variant's function from a spec of this case to attention.

    Raises Unsupported, when called, where the variant takes dense batches alone.
    """
    module = variant_module(module_name)
    if case.layout == "paged":
        return _prepare_for_pages(module_name, options, case, device)
    if case.norms and not getattr(module, "READS_NORMS", False):
        plain = msgspec.structs.replace(case, norms=False)
        return partial(_without_norms, prepare_function(module_name, options, plain, device))
    dense: PrepareFunction = partial(module.prepare, **options)
    if not (case.padding or case.q_lens or case.window or case.norms):
        return dense
    if hasattr(module, "prepare_general"):
        return partial(_with_sequences, partial(module.prepare_general, **options), case, device)
    if case.form == "packed" and not case.window:
        plain = importlib.import_module("variants.problem").DENSE
        return lambda spec: dense(replace(spec, extras=plain))
    return partial(_refuse, module_name)


def _with_sequences(
    prepare_general: Callable[[Spec], Any], case: Case, device: torch.device, spec: Spec
) -> Attention:
    if case.seq_lens and case.form == "padded" and not (case.padding or case.causal):
        raise Unsupported("bidirectional queries would see the padding; give them packed")
    general, sequences = prepare_general(spec), _sequences(case, device)

    def attention(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, norms: Tensor | None = None
    ) -> Tensor:
        given = sequences if norms is None else sequences._replace(norms=norms)
        out: Tensor = general(q, k, v, slopes, given)[0]
        return out

    return attention


def _prepare_for_pages(
    module_name: str, options: Mapping[str, str | float | bool], case: Case, device: torch.device
) -> PrepareFunction:
    module = variant_module(module_name)
    if getattr(module, "READS_PAGES", False):
        return partial(_with_pages, partial(module.prepare_general, **options))
    whole = msgspec.structs.replace(case, layout="bhnd")
    return partial(_from_pages, prepare_function(module_name, options, whole, device))


def spec_in_pages(spec: Spec) -> Spec:
    """Return the spec of a cache in pages, where `spec` is that of the same cache in one piece."""
    extras = replace(spec.extras, sequences="kv_lens", page_size=PAGE_SIZE)
    return replace(spec, kv_len=_pages_for(spec) * PAGE_SIZE, extras=extras)


def _pages_for(spec: Spec) -> int:
    """Return how many pages the keys of a sequence take."""
    return -(-spec.kv_len // PAGE_SIZE)


def _with_pages(prepare_general: Callable[[Spec], Any], spec: Spec) -> Callable[..., Tensor]:
    """Return the attention of a variant that reads pages; it gets those of the spec's keys."""
    general, each = prepare_general(spec_in_pages(spec)), _pages_for(spec)
    kv_lens = torch.full((spec.batch,), spec.kv_len, dtype=torch.int32, device=spec.device)
    make = importlib.import_module("variants.batches.sequences").Sequences

    def attention(
        q: Tensor,
        k_pages: Tensor,
        v_pages: Tensor,
        slopes: Tensor,
        block_tables: Tensor,
        norms: Tensor | None = None,
    ) -> Tensor:
        given = make(kv_lens=kv_lens, block_tables=block_tables[:, :each], norms=norms)
        out: Tensor = general(q, k_pages, v_pages, slopes, given)[0]
        return out

    return attention


def _from_pages(prepare: PrepareFunction, spec: Spec) -> Callable[..., Tensor]:
    """Return attention that copies the pages of the spec's keys together, and then attends."""
    attention, each = prepare(spec), _pages_for(spec)

    def together(pages: Tensor, block_tables: Tensor) -> Tensor:
        slots = pages[block_tables[:, :each].long()].transpose(1, 2).flatten(2, 3)
        return slots[:, :, : spec.kv_len]

    def gather_and_attend(
        q: Tensor,
        k_pages: Tensor,
        v_pages: Tensor,
        slopes: Tensor,
        block_tables: Tensor,
        *norms: Tensor,
    ) -> Tensor:
        k, v = together(k_pages, block_tables), together(v_pages, block_tables)
        return attention(q, k, v, slopes, *norms)

    return gather_and_attend


def _without_norms(prepare: PrepareFunction, spec: Spec) -> Attention:
    """Return the attention of a variant that has no use for the norms of a cache."""
    dense = prepare(replace(spec, extras=replace(spec.extras, norms=False)))

    def attention(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        slopes: Tensor,
        norms: Tensor | None = None,  # noqa: ARG001
    ) -> Tensor:
        return dense(q, k, v, slopes)

    return attention


def _sequences(case: Case, device: torch.device) -> Any:
    """Return the case's Sequences (variants.batches.sequences)."""
    make = importlib.import_module("variants.batches.sequences").Sequences

    def ends_of(lengths: tuple[int, ...]) -> Tensor:
        ends = torch.tensor((0, *lengths), dtype=torch.int32, device=device)
        return ends.cumsum(0, dtype=torch.int32)

    if case.q_lens:
        return make(cu_seqlens=ends_of(case.q_lens), cu_seqlens_k=ends_of(case.seq_lens))
    if case.form == "packed":
        return make(cu_seqlens=ends_of(case.seq_lens))
    return make(key_padding=padding_of(case, device)) if case.padding else make()


def _refuse(module_name: str, spec: Spec) -> Attention:
    name, wanted = short_name(module_name), ", ".join(spec.extras.names)
    raise Unsupported(f"{name} takes no {wanted}; eager, sdpa_mask, flex and native_window take it")
