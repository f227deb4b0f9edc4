"""A lane as tests.fakes.lane, on a device of so many bytes that all lanes share.

The environment variable ROOM is JSON: {"bytes": size, "needs": {module: bytes}, "foreseen": bool,
"folder": where lanes note what they hold}.
"""

import json
import os
import socket
import sys
from pathlib import Path

import msgspec

from suite.lanes.protocol import (
    Drop,
    FirstCall,
    Foresee,
    LaneAnswer,
    MemoryForecast,
    Ready,
    Refusal,
    Step,
    receive,
    send,
)
from tests.fakes.lane import right

_decoder: msgspec.msgpack.Decoder[Step] = msgspec.msgpack.Decoder(Step)


def main(channel_number: str, parent: str, module: str, *_: str) -> None:
    """Answer every step; a first call takes the variant's need, if there is room for it."""
    channel = socket.socket(fileno=int(channel_number))
    room = json.loads(os.environ["ROOM"])
    held = Path(room["folder"], module)
    held.unlink(missing_ok=True)
    send(channel, Ready())
    while True:
        try:
            step = _decoder.decode(receive(channel, None))
        except (EOFError, OSError):
            return
        send(channel, answer(step, module, room, held))


def answer(step: Step, module: str, room: dict[str, object], held: Path) -> LaneAnswer:
    """Return what a lane on that device would say."""
    needs = room["needs"]
    assert isinstance(needs, dict)
    match step:
        case Foresee():
            return MemoryForecast(
                needs[module] if room["foreseen"] else None, int(str(room["bytes"]))
            )
        case FirstCall():
            taken = sum(int(other.read_text()) for other in held.parent.iterdir())
            if taken + needs[module] > int(str(room["bytes"])):
                return Refusal("out_of_memory", "no room on the device")
            held.write_text(str(needs[module]))
        case Drop():
            held.unlink(missing_ok=True)
    return right(step)


if __name__ == "__main__":
    main(*sys.argv[1:])
