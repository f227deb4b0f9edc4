"""What of a case is compared with the oracle: calls of an attention, and the parts of each answer.

Decode has a call for each step. A ragged batch is one call with a part for each sequence, whose
oracle sees that sequence alone. So an answer that another sequence's keys, or padding, leaked into
disagrees. Every other case is one call of one part.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import msgspec
import torch

from suite.agreement.inputs import Inputs, PrepareFunction, spec_of
from suite.cases.case import Case
from variants.problem import Attention, Spec

Place = tuple[slice, slice, slice]
"""Where a part lies in a batch's tensors: batch, heads, positions."""

EVERYWHERE: Place = (slice(None), slice(None), slice(None))


class Part(NamedTuple):
    """A part of an answer that has an oracle of its own: its spec, and where it lies.

    `name` is empty where the part is the whole case. `kv_place` is where its keys and values lie.
    """

    name: str
    spec: Spec
    place: Place
    kv_place: Place

    def inputs(self, whole: Inputs) -> Inputs:
        """Return the part's inputs, as views."""
        dout = None if whole.dout is None else whole.dout[self.place]
        q, k, v = whole.q[self.place], whole.k[self.kv_place], whole.v[self.kv_place]
        return replace(whole, q=q, k=k, v=v, dout=dout)


class JudgedCall(NamedTuple):
    """An attention, the inputs to call it with, and the parts of its answer."""

    attention: Attention
    inputs: Inputs
    parts: list[Part]


def judged_calls(
    case: Case, attention: Attention, prepare: PrepareFunction, inputs: Inputs, device: torch.device
) -> Iterator[JudgedCall]:
    """Yield the calls of a case."""
    if case.mode == "decode":
        for kv_len in case.kv_lens:
            spec = spec_of(case, device, kv_len)
            cache = replace(inputs, k=inputs.k[:, :, :kv_len], v=inputs.v[:, :, :kv_len])
            part = Part(f"step at {kv_len}: ", spec, EVERYWHERE, EVERYWHERE)
            yield JudgedCall(prepare(spec), cache, [part])
    else:
        yield JudgedCall(attention, inputs, parts_of(case, device))


def parts_of(case: Case, device: torch.device) -> list[Part]:
    """Return the parts of one call: the sequences of a ragged batch, or the whole."""
    if not case.seq_lens:
        return [Part("", spec_of(case, device), EVERYWHERE, EVERYWHERE)]
    parts = []
    for number, (q_len, kv_len) in enumerate(case.sequence_lens):
        alone = msgspec.structs.replace(
            case,
            **{"batch": 1, "q_len": q_len, "kv_len": kv_len, "seq_lens": (), "q_lens": ()},
            **{"form": "padded", "padding": ""},
        )
        place, kv_place = (
            _sequence_place(case, number, lengths)
            for lengths in (case.q_lens or case.seq_lens, case.seq_lens)
        )
        parts.append(Part(f"sequence {number}: ", spec_of(alone, device), place, kv_place))
    return parts


def _sequence_place(case: Case, number: int, lengths: tuple[int, ...]) -> Place:
    """Return where a sequence of a ragged batch lies, among sequences of such lengths."""
    length = lengths[number]
    if case.form == "packed":
        start = sum(lengths[:number])
        return slice(0, 1), slice(None), slice(start, start + length)
    first = case.kv_len - length if case.padding == "left" else 0
    return slice(number, number + 1), slice(None), slice(first, first + length)
