"""What parent and lane say to each other: steps one way, answers the other, framed on a socket."""

import socket
import struct
import time
from typing import Literal

import msgspec

from suite.case import Case


class Prepare(msgspec.Struct, tag=True):
    """Draw the case's inputs and prepare the variant for it."""

    case: Case
    seed: int


class FirstCall(msgspec.Struct, tag=True):
    """Call the prepared variant once, compilation included."""


class Check(msgspec.Struct, tag=True):
    """Compare a call with the oracle, on the timed inputs (before) or on fresh ones (after)."""

    stage: Literal["before", "after"]


class Slice(msgspec.Struct, tag=True):
    """Take one turn's samples of so many calls each; with 0 find that number first."""

    calls_per_sample: int


class Weigh(msgspec.Struct, tag=True):
    """Find what one call allocates and what the variant keeps."""


class NameKernels(msgspec.Struct, tag=True):
    """Profile one call and name the attention kernels in it."""


class Drop(msgspec.Struct, tag=True):
    """Let go of the case's tensors."""


class RunCanary(msgspec.Struct, tag=True):
    """Time the matrix product of fixed shape."""


Step = Prepare | FirstCall | Check | Slice | Weigh | NameKernels | Drop | RunCanary


class Ready(msgspec.Struct, tag=True):
    """The lane has its libraries and waits for a step."""


class Done(msgspec.Struct, tag=True):
    """The step took this long."""

    seconds: float


class Checked(msgspec.Struct, tag=True):
    """How far the call was from the oracle."""

    agrees: bool
    error: float
    budget: float
    where: str


class Sampled(msgspec.Struct, tag=True):
    """Elapsed nanoseconds of each sample of so many calls."""

    samples_ns: list[int]
    calls_per_sample: int


class Weighed(msgspec.Struct, tag=True):
    """Bytes of a call, as suite.memory.Weight has them."""

    peak_bytes: int
    persistent_bytes: int
    resident_bytes: int | None
    reserved_bytes: int | None


class Named(msgspec.Struct, tag=True):
    """The names of the kernels that ran."""

    kernels: list[str]


class Refused(msgspec.Struct, tag=True):
    """The variant declined or raised, and why."""

    status: Literal["unsupported", "skipped", "out_of_memory", "failed"]
    reason: str


Answer = Ready | Done | Checked | Sampled | Weighed | Named | Refused

_LENGTH = struct.Struct("!I")
_encoder = msgspec.msgpack.Encoder()


def send(channel: socket.socket, message: Step | Answer) -> None:
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
