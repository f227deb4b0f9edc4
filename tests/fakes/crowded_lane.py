"""A lane as tests.fakes.lane invents it, on a device of so many bytes that all lanes share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from suite.lanes.protocol import (
    Drop,
    FirstCall,
    Foresee,
    LaneAnswer,
    MemoryForecast,
    Refusal,
    Step,
)
from tests.fakes.lane import right


@dataclass
class Room:
    """A device's memory: its size, what each module needs of it, and what lanes hold now."""

    size: int
    needs: Mapping[str, int]
    foreseen: bool
    held: dict[str, int] = field(default_factory=dict)


class CrowdedLane:
    """A lane whose first call takes the variant's need, if there is room for it."""

    def __init__(self, module: str, room: Room) -> None:
        self._module = module
        self._room = room
        room.held.pop(module, None)

    def answer(self, step: Step) -> LaneAnswer:
        """Return what a lane on that device would say."""
        room, need = self._room, self._room.needs[self._module]
        match step:
            case Foresee():
                return MemoryForecast(need if room.foreseen else None, room.size)
            case FirstCall():
                if sum(room.held.values()) + need > room.size:
                    return Refusal("out_of_memory", "no room on the device")
                room.held[self._module] = need
            case Drop():
                room.held.pop(self._module, None)
        return right(step)
