"""Timed calls on two sets of inputs in turn, each result compared with the judged one.

What is timed is what is checked. A call's result is compared, outside of timing, with the result
that the judge saw for the same inputs. The result before it is then filled with NaN, so that a
kernel that leaves an element unwritten shows the NaN and not an old right answer. Between turns
the inputs are compared with their checksums, and the sets exchange their contents, so that a
variant that stores results by address answers wrongly.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from typing import NamedTuple

import torch
from torch import Tensor

from suite.agreement.errors import ErrorMeasure
from suite.agreement.inputs import Inputs
from suite.agreement.oracle.portions import BLOCK_BYTES
from suite.agreement.subproblems import Place

CallResults = tuple[Tensor, ...]
"""What a timed call answers: out; out, dq, dk and dv; or the out of each decode step."""

TimedCall = Callable[[], CallResults]

UNJUDGED_EPS = 16


class BrokenRule(Exception):  # noqa: N818 - a finding about the variant, not a bug of the suite
    """What a timed call did that is not allowed, or where its result differs from the judged."""


class JudgedResult(NamedTuple):
    """One tensor of a judged result, and how far a timed one may be from it.

    `least_size` is the norm below which a row counts as zero. `limits` are relative L2 norms: of a
    head and of a row. Both results may be off the truth by a budget, so a limit is two budgets.
    """

    label: str
    tensor: Tensor
    least_size: float
    limits: tuple[float, ...]


class Rotation:
    """The two sets of inputs of a case, the call on each, and the judged results of each."""

    def __init__(
        self,
        sets: Sequence[Inputs],
        call: Callable[[Inputs], CallResults],
        places: Sequence[Place],
        wrap: Callable[[TimedCall], TimedCall] = lambda call: call,
    ) -> None:
        """Take two sets of inputs; `places` are the parts of a result that count, without padding.

        `wrap` changes each call before it is timed.
        """
        self.sets = sets
        self._is_exchanged = False
        self._checksums = [_checksums(inputs) for inputs in sets]
        self._places = places
        self._judged: list[Sequence[JudgedResult]] = [()] * len(sets)
        self._calls = [wrap(lambda inputs=inputs: call(inputs)) for inputs in sets]  # type: ignore[misc]
        self._turn = cycle(range(len(sets)))
        self._now = 0
        self._held: CallResults = ()
        self._judged_addresses: set[int] = set()
        self._input_addresses = {
            address for inputs in sets for address in _addresses(inputs.by_name().values())
        }

    def __next__(self) -> TimedCall:
        """Return the call on the next set of inputs."""
        self._now = next(self._turn)
        return self._calls[self._now]

    def first_call(self) -> TimedCall:
        """Return the call on the first set of inputs."""
        return self._calls[0]

    def set_judged(self, number: int, results: Sequence[JudgedResult]) -> None:
        """Note the judged results of a set."""
        self._judged[number] = results
        self._judged_addresses |= _addresses(result.tensor for result in results)

    def inspect(self, results: CallResults) -> None:
        """Compare the results of the last call, and fill those before them with NaN.

        Where nobody has judged the set, its first results take the place of judged ones. Raises
        BrokenRule where they differ from the judged ones by more than two budgets, or where they
        share memory with an input or with results that the caller still holds.
        """
        for tensor in results:
            if type(tensor) is not Tensor:
                raise BrokenRule(f"a timed call answered with a {type(tensor).__name__}")
        addresses = _addresses(results)
        if addresses & (_addresses(self._held) | self._judged_addresses):
            raise BrokenRule("a call answered in memory that the caller still holds an answer in")
        if addresses & self._input_addresses:
            raise BrokenRule("a call answered in the memory of an input")
        if not self._judged[self._now]:
            self._judged[self._now] = [_as_judged(tensor.detach()) for tensor in results]
        self._compare(results, self._judged[self._now])
        for tensor in self._held:
            tensor.detach().fill_(math.nan)
        self._held = tuple(tensor.detach() for tensor in results)

    def inspect_replay(self, results: CallResults) -> None:
        """Compare the results of a replayed first call, and fill them with NaN."""
        self._compare(results, self._judged[0])
        for tensor in results:
            tensor.detach().fill_(math.nan)

    def exchange(self) -> None:
        """Exchange the contents of the two sets, behind the back of version counters.

        Raises BrokenRule where a call since the last exchange has changed an input.
        """
        self._held = ()
        for inputs, checksums in zip(self.sets, self._checksums, strict=True):
            for name, checksum in _checksums(inputs).items():
                if checksum != checksums[name]:
                    raise BrokenRule(f"a timed call wrote over its input {name}")
        first, second = (inputs.by_name() for inputs in self.sets)
        for name, tensor in first.items():
            if tensor is second[name]:
                continue  # sets share their slopes
            content = tensor.detach().clone()
            tensor.data.copy_(second[name].data)
            second[name].data.copy_(content)
        self._judged.reverse()
        self._checksums.reverse()
        self._is_exchanged = not self._is_exchanged

    def input_change(self, number: int, redrawn: Inputs) -> str | None:
        """Return the name of an input of a set that differs from `redrawn`, the set drawn anew."""
        place = 1 - number if self._is_exchanged else number
        return first_difference(self.sets[place], redrawn)

    def result_bytes(self) -> int:
        """Return the bytes of the results that are held for comparison."""
        judged = [result.tensor for results in self._judged for result in results]
        return sum(tensor.nbytes for tensor in (*judged, *self._held))

    def _compare(self, results: CallResults, references: Sequence[JudgedResult]) -> None:
        if len(results) != len(references):
            raise BrokenRule(
                f"a timed call answered with {len(results)} of {len(references)} results"
            )
        for result, like in zip(results, references, strict=True):
            if _equal(result, like.tensor):
                continue
            for place in self._places:
                _compare_rows(result.detach()[place], like, place)


def _addresses(tensors: Iterable[Tensor]) -> set[int]:
    """Return where the tensors' storages begin, in bytes."""
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


def _as_judged(tensor: Tensor) -> JudgedResult:
    """Return a result that later ones are compared with: they may differ by 16 eps."""
    limit = UNJUDGED_EPS * torch.finfo(tensor.dtype).eps
    usual_size = float(tensor.double().square().mean() * tensor.shape[-1]) ** 0.5
    return JudgedResult("result", tensor.clone(), 1e-3 * usual_size, (limit, limit))


def first_difference(inputs: Inputs, others: Inputs) -> str | None:
    """Return the name of the first tensor that differs between two sets of inputs, or None."""
    tensors = others.by_name()
    for name, tensor in inputs.by_name().items():
        if not _equal(tensor, tensors[name]):
            return name
    return None


def _checksums(inputs: Inputs) -> dict[str, int]:
    """Return a checksum of each tensor's bits, in which rows count by their places."""
    return {name: _checksum(tensor.detach()) for name, tensor in inputs.by_name().items()}


def _checksum(tensor: Tensor) -> int:
    is_whole = tensor.dim() > 1 and tensor.shape[-1] * tensor.dtype.itemsize % 8 == 0
    # Sums of int64 need no conversion, which would take longer than a copy of the tensor.
    words = tensor.contiguous().view(torch.int64) if is_whole else _bits(tensor)
    rows = words.sum(dim=-1, dtype=torch.int64).flatten() if words.dim() > 1 else words.long()
    return int((rows * torch.arange(1, 1 + len(rows), device=rows.device)).sum())


def _bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.int32 if tensor.dtype.itemsize == 4 else torch.int16)


def _equal(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same bit by bit, NaN too."""
    tensor, other = tensor.detach(), other.detach()
    if tensor.shape != other.shape or tensor.dtype != other.dtype:
        return False
    return torch.equal(_bits(tensor), _bits(other))


def _compare_rows(result: Tensor, like: JudgedResult, place: Place) -> None:
    """Compare part of a result head by head and row by row. Raises BrokenRule."""
    judged = like.tensor[place]
    if result.shape != judged.shape:
        raise BrokenRule(f"a timed {like.label} is {list(result.shape)}")
    batch, heads, length, width = judged.shape
    rows = torch.arange(length, device=judged.device)
    few = max(1, BLOCK_BYTES // (8 * length * width))
    for entry, first in itertools.product(range(batch), range(0, heads, few)):
        spot = slice(entry, entry + 1), slice(first, first + few)
        exact = judged[spot].double()
        measure = ErrorMeasure(like.label, exact, exact, (entry, first), rows, like.least_size)
        for worst, limit in zip(measure.worst(result[spot]), like.limits, strict=True):
            if not worst.error <= limit:
                raise BrokenRule(
                    f"a timed call differs from the judged one: {worst.where} by "
                    f"{worst.error:.1e}, two budgets are {limit:.1e}"
                )
