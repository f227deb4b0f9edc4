"""The parts of a case that are compared with the oracle one by one.

A ragged batch has a part for each sequence, decode a part for each step, and every other case is
its only part. A sequence's oracle sees that sequence alone. So an answer that another sequence's
keys, or padding, leaked into disagrees.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor

from suite.agreement.inputs import Inputs, PrepareFunction, spec_of
from suite.cases.case import Case
from variants.problem import Attention, Spec

SequenceSlices = tuple[slice, slice, slice]
"""Where a sequence lies in a batch's tensors: batch, heads, positions."""


class Subproblem(NamedTuple):
    """One part of a case: an attention to call, and the spec and inputs to call it with.

    `name` says which part it is, and is empty where the part is the whole case.
    """

    name: str
    attention: Attention
    spec: Spec
    inputs: Inputs


def subproblems(
    case: Case, attention: Attention, prepare: PrepareFunction, inputs: Inputs, device: torch.device
) -> Iterator[Subproblem]:
    """Yield the parts of a case."""
    if case.seq_lens:
        yield from _sequences(case, attention, inputs, device)
    elif case.mode == "decode":
        yield from _steps(case, prepare, inputs, device)
    else:
        yield Subproblem("", attention, spec_of(case, device), inputs)


def _steps(
    case: Case, prepare: PrepareFunction, inputs: Inputs, device: torch.device
) -> Iterator[Subproblem]:
    for kv_len in case.kv_lens:
        spec = spec_of(case, device, kv_len)
        cache = replace(inputs, k=inputs.k[:, :, :kv_len], v=inputs.v[:, :, :kv_len])
        yield Subproblem(f"step at {kv_len}: ", prepare(spec), spec, cache)


def _sequences(
    case: Case, attention: Attention, inputs: Inputs, device: torch.device
) -> Iterator[Subproblem]:
    start = 0
    for number, length in enumerate(case.seq_lens):
        place: SequenceSlices = (slice(number, number + 1), slice(None), slice(0, length))
        if case.form == "packed":
            place = (slice(0, 1), slice(None), slice(start, start + length))
        start += length
        alone = msgspec.structs.replace(
            case, batch=1, q_len=length, kv_len=length, seq_lens=(), form="padded"
        )
        yield Subproblem(
            f"sequence {number}: ",
            _attention_at(attention, inputs, place),
            spec_of(alone, device),
            _inputs_at(inputs, place),
        )


def _inputs_at(inputs: Inputs, place: SequenceSlices) -> Inputs:
    q, k, v = (
        tensor.detach()[place].requires_grad_(tensor.requires_grad)
        for tensor in (inputs.q, inputs.k, inputs.v)
    )
    dout = None if inputs.dout is None else inputs.dout[place]
    return replace(inputs, q=q, k=k, v=v, dout=dout)


def _attention_at(attention: Attention, inputs: Inputs, place: SequenceSlices) -> Attention:
    """Return attention of one sequence, computed within the whole batch of `inputs`."""

    def insert(batch: Tensor, sequence: Tensor) -> Tensor:
        changed = batch.detach().clone()
        changed[place] = sequence
        return changed

    def attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        q, k, v = insert(inputs.q, q), insert(inputs.k, k), insert(inputs.v, v)
        return attention(q, k, v, slopes)[place]

    return attend
