"""What parent and lane say to each other: steps one way, answers the other, framed on a socket."""

import socket
import struct
import time
from typing import Literal

import msgspec

from suite.cases.case import Case, Dtype
from suite.clocks.series import CanaryRan, DeviceRate, Sampled


class Foresee(msgspec.Struct, tag=True):
    """Tell how much memory a case would take, before any of it is taken."""

    case: Case


class Prepare(msgspec.Struct, tag=True):
    """Draw the case's inputs and prepare the variant for it.

    `slowed_by` is a share of its own time that every timed call is to take longer: a slowdown
    planted to see it found.
    """

    case: Case
    seed: int
    slowed_by: float = 0.0


class FirstCall(msgspec.Struct, tag=True):
    """Call the prepared variant once, compilation included."""


class Check(msgspec.Struct, tag=True):
    """Compare a call with the oracle, on the timed inputs (before) or on fresh ones (after)."""

    stage: Literal["before", "after"]


class Slice(msgspec.Struct, tag=True):
    """Take one turn's samples."""


class Replay(msgspec.Struct, tag=True):
    """Capture the call in a CUDA graph and time its replays."""


class EmptyCaches(msgspec.Struct, tag=True):
    """Give back what the allocator holds and nobody uses."""


class Weigh(msgspec.Struct, tag=True):
    """Find what one call allocates and what the variant keeps."""


class NameKernels(msgspec.Struct, tag=True):
    """Profile one call and name the attention kernels in it."""


class Drop(msgspec.Struct, tag=True):
    """Let go of the case's tensors."""


class RunCanary(msgspec.Struct, tag=True):
    """Time the matrix product of fixed shape."""


class FindLimits(msgspec.Struct, tag=True):
    """Time a large matrix product in each dtype, and a large copy."""

    dtypes: tuple[Dtype, ...]


Step = (
    Foresee
    | Prepare
    | FirstCall
    | Check
    | Slice
    | Replay
    | EmptyCaches
    | Weigh
    | NameKernels
    | Drop
    | RunCanary
    | FindLimits
)


class Ready(msgspec.Struct, tag=True):
    """The lane has its libraries and waits for a step."""


class Foreseen(msgspec.Struct, tag=True):
    """Bytes that inputs and a call would take (None where only a real call can tell), and free."""

    needed_bytes: int | None
    free_bytes: int


class Done(msgspec.Struct, tag=True):
    """The step took this long."""

    seconds: float


class Checked(msgspec.Struct, tag=True):
    """How far the call was from the oracle."""

    agrees: bool
    error: float
    budget: float
    where: str


class LimitsFound(msgspec.Struct, tag=True):
    """The rates of each dtype asked for."""

    rates: list[DeviceRate]


class Weighed(msgspec.Struct, tag=True):
    """Bytes of a call, as suite.memory.weigh.Weight has them."""

    peak_bytes: int
    persistent_bytes: int
    resident_bytes: int | None
    reserved_bytes: int | None


class Named(msgspec.Struct, tag=True):
    """The names of the kernels that ran, and if told: the share of all pairs that was computed,
    and the variant that was chosen to answer.
    """

    kernels: list[str]
    density: float | None = None
    chose: str | None = None


class Refused(msgspec.Struct, tag=True):
    """The variant declined or raised, and why."""

    status: Literal["unsupported", "skipped", "out_of_memory", "failed"]
    reason: str


LaneAnswer = (
    Ready
    | Foreseen
    | Done
    | Checked
    | Sampled
    | CanaryRan
    | LimitsFound
    | Weighed
    | Named
    | Refused
)

_LENGTH = struct.Struct("!I")
_encoder = msgspec.msgpack.Encoder()


def send(channel: socket.socket, message: Step | LaneAnswer) -> None:
    """Send one message. Raises OSError when the other side is gone."""
    body = _encoder.encode(message)
    channel.sendall(_LENGTH.pack(len(body)) + body)


def receive(channel: socket.socket, limit_s: float | None) -> bytes:
    """Return the next message's bytes.

    Raises TimeoutError past the limit, and EOFError or OSError when the other side is gone.
    """
    deadline = None if limit_s is None else time.monotonic() + limit_s
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size, deadline))
    return _exactly(channel, length, deadline)


def _exactly(channel: socket.socket, count: int, deadline: float | None) -> bytes:
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
