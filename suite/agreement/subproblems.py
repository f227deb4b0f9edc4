"""What is held against the oracle at once: a case, a sequence of a ragged batch, a step of decode.

A sequence is compared as if it stood alone, so that another's keys or the padding show in it.
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
    """An attention and its inputs, as one case without sequences or steps has them."""

    name: str
    attention: Attention
    spec: Spec
    inputs: Inputs


def subproblems(
    case: Case, attention: Attention, prepare: PrepareFunction, inputs: Inputs, device: torch.device
) -> Iterator[Subproblem]:
    """Yield the parts of a case, each a whole problem of its own."""
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
        seen = replace(inputs, k=inputs.k[:, :, :kv_len], v=inputs.v[:, :, :kv_len])
        yield Subproblem(f"step at {kv_len}: ", prepare(spec), spec, seen)


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
    """Return a sequence's part of the whole batch's attention, the others as in `inputs`."""

    def among(whole: Tensor, own: Tensor) -> Tensor:
        held = whole.detach().clone()
        held[place] = own
        return held

    def attended(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        q, k, v = among(inputs.q, q), among(inputs.k, k), among(inputs.v, v)
        return attention(q, k, v, slopes)[place]

    return attended
