"""The messages between parent and lane: steps to the lane, and its answers, framed on a socket.

The parent sends one step and waits for its answer. Times of a turn, of the canary and of limits are
defined in suite/clocks/series.py.
"""

import socket
import struct
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from suite.cases.case import Case, Dtype
from suite.clocks.series import CanaryTimes, DeviceRate, TurnSamples


class Foresee(msgspec.Struct, tag=True):
    """Predict how much memory a case needs, without allocating any.

    `needed_bytes` is the prediction of an earlier pass, if there is one.
    """

    case: Case
    needed_bytes: int | None = None


class Prepare(msgspec.Struct, tag=True):
    """Draw the case's inputs from `inputs_seed` and prepare the variant for it.

    `slowed_by` plants a slowdown to test detection: every timed call takes longer by this share of
    its time.
    """

    case: Case
    inputs_seed: int
    slowed_by: float = 0.0


class FirstCall(msgspec.Struct, tag=True):
    """Call the prepared variant once, compilation included."""


class Check(msgspec.Struct, tag=True):
    """Compare calls with the oracle: on the timed inputs ("before") or new ones ("after").

    `rows_seed` draws the rows that are compared in float64, and the new inputs. The lane can't
    know it before it is sent.
    """

    stage: Literal["before", "after"]
    rows_seed: int


class CheckAlone(msgspec.Struct, tag=True):
    """Prepare another case, compare calls with the oracle, and drop that case again.

    One call is on standard normal numbers, the other on tokens of very different sizes.
    """

    case: Case
    seed: int


class Slice(msgspec.Struct, tag=True):
    """Take one turn's samples."""


class CallUninspected(msgspec.Struct, tag=True):
    """Call so many times, one after another, and look at no result; the parent times it."""

    calls: int


class Replay(msgspec.Struct, tag=True):
    """Capture the call in a CUDA graph and time its replays."""


class EmptyCaches(msgspec.Struct, tag=True):
    """Give back the memory that the allocator holds and nobody uses."""


class Weigh(msgspec.Struct, tag=True):
    """Measure how much one call allocates and how much the variant keeps."""


class NameKernels(msgspec.Struct, tag=True):
    """Profile one call and name the attention kernels in it."""


class Drop(msgspec.Struct, tag=True):
    """Free the case's tensors."""


class RunCanary(msgspec.Struct, tag=True):
    """Time the canary, a matrix product of fixed shape."""


class FindLimits(msgspec.Struct, tag=True):
    """Time a large matrix product in each dtype, and a large copy."""

    dtypes: tuple[Dtype, ...]


Step = (
    Foresee
    | Prepare
    | FirstCall
    | Check
    | CheckAlone
    | Slice
    | CallUninspected
    | Replay
    | EmptyCaches
    | Weigh
    | NameKernels
    | Drop
    | RunCanary
    | FindLimits
)


class Ready(msgspec.Struct, tag=True):
    """The lane has imported its modules and waits for a step."""


class MemoryForecast(msgspec.Struct, tag=True):
    """Bytes that inputs and a call need, or None if only a real call can tell, and bytes free."""

    needed_bytes: int | None
    free_bytes: int


class Done(msgspec.Struct, tag=True):
    """The step is done, and took so many seconds."""

    seconds: float


class CheckResult(msgspec.Struct, tag=True):
    """The error closest to its budget, or furthest over it, and the head or row it is in."""

    agrees: bool
    error: float
    budget: float
    where: str


class DeviceRates(msgspec.Struct, tag=True):
    """The peak rates of each dtype in the step."""

    rates: list[DeviceRate]


class WeighResult(msgspec.Struct, tag=True):
    """The bytes of a call; suite.memory.weigh.Weight defines the fields."""

    peak_bytes: int
    persistent_bytes: int
    resident_bytes: int | None
    reserved_bytes: int | None


class KernelNames(msgspec.Struct, tag=True):
    """The names of the kernels that ran, the lane's thread pools, and what only some variants have.

    `density` is the share of unmasked pairs that was computed, for variants that leave some out;
    such a variant has `leaves_out`, and no density in a ragged batch. `chose` is the variant that
    `auto` picked.
    """

    kernels: list[str]
    density: float | None = None
    chose: str | None = None
    leaves_out: bool = False
    thread_pools: tuple[str, ...] = ()


class Refusal(msgspec.Struct, tag=True):
    """The variant declined the case, raised an exception or answered wrongly; `reason` says it."""

    status: Literal["unsupported", "skipped", "out_of_memory", "failed", "disagrees"]
    reason: str


LaneAnswer = (
    Ready
    | MemoryForecast
    | Done
    | CheckResult
    | TurnSamples
    | CanaryTimes
    | DeviceRates
    | WeighResult
    | KernelNames
    | Refusal
)

_LENGTH = struct.Struct("!I")
_encoder = msgspec.msgpack.Encoder()
_step_decoder: msgspec.msgpack.Decoder[Step] = msgspec.msgpack.Decoder(Step)


def serve(channel: socket.socket, answer: Callable[[Step], LaneAnswer]) -> None:
    """Send Ready, then `answer` one step after another until the parent closes the channel."""
    send(channel, Ready())
    while True:
        try:
            step = _step_decoder.decode(receive(channel, None))
        except (EOFError, OSError):
            return
        send(channel, answer(step))


def send(channel: socket.socket, message: Step | LaneAnswer) -> None:
    """Send one message. Raises OSError when the other process is gone."""
    body = _encoder.encode(message)
    channel.sendall(_LENGTH.pack(len(body)) + body)


def receive(channel: socket.socket, limit_s: float | None) -> bytes:
    """Return the next message's bytes.

    Raises TimeoutError after `limit_s`, and EOFError or OSError when the other process is gone.
    """
    deadline = None if limit_s is None else time.monotonic() + limit_s
    (length,) = _LENGTH.unpack(_receive_exactly(channel, _LENGTH.size, deadline))
    return _receive_exactly(channel, length, deadline)


def _receive_exactly(channel: socket.socket, count: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        if deadline is not None and deadline <= time.monotonic():
            raise TimeoutError
        channel.settimeout(None if deadline is None else max(0.001, deadline - time.monotonic()))
        part = channel.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
