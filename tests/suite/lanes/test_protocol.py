"""Messages arrive whole or not at all, and whoever waits learns in time that nothing comes."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest

from suite.clocks.series import CanaryTimes, DeviceRate, Samples, TurnSamples
from suite.lanes.protocol import (
    CallUninspected,
    Check,
    CheckAlone,
    CheckResult,
    DeviceRates,
    Done,
    Drop,
    EmptyCaches,
    FindLimits,
    FirstCall,
    Foresee,
    KernelNames,
    LaneAnswer,
    MemoryForecast,
    NameKernels,
    Prepare,
    Ready,
    Refusal,
    Replay,
    RunCanary,
    Slice,
    Step,
    Weigh,
    WeighResult,
    receive,
    send,
)
from tests.records import a_case

Pair = tuple[socket.socket, socket.socket]
STEPS: list[Step] = [
    Foresee(a_case()),
    Prepare(a_case(), 7),
    FirstCall(),
    Check("before", 1),
    Check("after", 2),
    CheckAlone(a_case(), 3),
    Slice(),
    CallUninspected(4),
    Replay(),
    EmptyCaches(),
    Weigh(),
    NameKernels(),
    Drop(),
    RunCanary(),
    FindLimits(("float32", "bfloat16")),
]
ANSWERS: list[LaneAnswer] = [
    Ready(),
    MemoryForecast(1 << 33, 1 << 40),
    MemoryForecast(None, 1 << 40),
    Done(0.25),
    CheckResult(True, 1e-7, 1e-6, "out, batch 0 head 3"),
    TurnSamples([Samples("call", [1, 2, 3])], 40),
    TurnSamples([Samples("device", [1, 2]), Samples("issue", [3])], 1, retaken=2),
    CanaryTimes("a product", [1, 2, 3]),
    DeviceRates([DeviceRate("float32", 2e12, 5e10), DeviceRate("bfloat16", 8e12, 5e10)]),
    WeighResult(3 << 20, 1 << 20, 4 << 20, None),
    KernelNames(["a_kernel"]),
    Refusal("unsupported", "no — not for float16\nat all"),
]


def name_of(message: Step | LaneAnswer) -> str:
    """Return the name of a message's kind."""
    return type(message).__name__


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected sockets, as parent and lane have."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("step", STEPS, ids=name_of)
def test_a_step_arrives_as_it_was_sent(step: Step, pair: Pair) -> None:
    send(pair[0], step)
    assert msgspec.msgpack.Decoder(Step).decode(receive(pair[1], 5)) == step


@pytest.mark.parametrize("answer", ANSWERS, ids=name_of)
def test_an_answer_arrives_as_it_was_sent(answer: LaneAnswer, pair: Pair) -> None:
    send(pair[1], answer)
    assert msgspec.msgpack.Decoder(LaneAnswer).decode(receive(pair[0], 5)) == answer


def test_messages_arrive_one_by_one_in_their_order(pair: Pair) -> None:
    for step in STEPS:
        send(pair[0], step)
    decoder = msgspec.msgpack.Decoder(Step)
    assert [decoder.decode(receive(pair[1], 5)) for _ in STEPS] == STEPS


def test_a_message_larger_than_any_buffer_arrives(pair: Pair) -> None:
    answer = TurnSamples([Samples("call", list(range(1_000_000)))], 1)
    sender = threading.Thread(target=send, args=(pair[1], answer))
    sender.start()
    received = receive(pair[0], 30)
    sender.join()
    assert len(received) > 2_000_000
    assert msgspec.msgpack.decode(received, type=TurnSamples) == answer


def test_a_message_that_comes_in_pieces_is_put_together(pair: Pair) -> None:
    body = msgspec.msgpack.encode(Done(1.5))

    def dribble() -> None:
        for byte in struct.pack("!I", len(body)) + body:
            pair[1].sendall(bytes([byte]))
            time.sleep(0.001)

    sender = threading.Thread(target=dribble)
    sender.start()
    assert receive(pair[0], 30) == body
    sender.join()


def test_what_follows_a_message_is_left_for_the_next(pair: Pair) -> None:
    send(pair[1], Done(1.0))
    pair[1].sendall(b"\x00\x00")
    receive(pair[0], 5)
    assert pair[0].recv(10) == b"\x00\x00"


def test_silence_is_a_timeout(pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        receive(pair[0], 0.02)


@pytest.mark.parametrize("piece", [b"\x00\x00", b"\x00\x00\x00\x05abc"], ids=["length", "body"])
def test_silence_in_the_middle_of_a_message_is_a_timeout(piece: bytes, pair: Pair) -> None:
    pair[1].sendall(piece)
    with pytest.raises(TimeoutError):
        receive(pair[0], 0.02)


def test_a_message_without_end_does_not_put_the_limit_off(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(struct.pack("!I", 1 << 28))

    def go_on() -> None:
        with suppress(OSError):
            while True:
                theirs.sendall(bytes(4096))

    sender = threading.Thread(target=go_on)
    sender.start()
    try:
        with pytest.raises(TimeoutError):
            receive(ours, 0.02)
    finally:
        ours.close()
        sender.join()


@pytest.mark.parametrize(
    "piece", [b"", b"\x00\x00", b"\x00\x00\x00\x05abc"], ids=["nothing", "length", "body"]
)
@pytest.mark.parametrize("limit_s", [5.0, None])
def test_hanging_up_is_the_end(piece: bytes, limit_s: float | None, pair: Pair) -> None:
    pair[1].sendall(piece)
    pair[1].close()
    with pytest.raises(EOFError):
        receive(pair[0], limit_s)


def test_a_message_sent_before_hanging_up_still_arrives(pair: Pair) -> None:
    send(pair[1], Done(2.0))
    pair[1].close()
    assert msgspec.msgpack.decode(receive(pair[0], 5), type=Done) == Done(2.0)


def test_sending_to_nobody_is_an_os_error(pair: Pair) -> None:
    pair[1].close()
    with pytest.raises(OSError, match="Broken pipe"):
        send(pair[0], Drop())


def test_a_timeout_leaves_nothing_that_limits_the_next_wait(pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        receive(pair[0], 0.01)
    later = threading.Timer(0.1, send, (pair[1], Ready()))
    later.start()
    assert msgspec.msgpack.decode(receive(pair[0], None), type=Ready) == Ready()
    later.join()
