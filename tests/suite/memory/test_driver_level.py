"""The rise of a GPU's memory level, or why there is none; never a rise between two scopes."""

from collections.abc import Iterable
from threading import Event
from typing import Any

import pytest

from suite.conditions.nvml import Absent, MemoryLevel
from suite.memory import driver_level
from suite.memory.driver_level import level_rise

UNREAD = Absent("NVML: Not Supported")


def of_process(used: int) -> MemoryLevel:
    """Return a level of the process."""
    return MemoryLevel(used, "process")


def of_device(used: int) -> MemoryLevel:
    """Return a level of the whole device."""
    return MemoryLevel(used, "device")


class InventedGpu:
    """A GPU whose levels are given; `over` is set once the last of them has been read."""

    def __init__(self, levels: Iterable[MemoryLevel | Absent]) -> None:
        self._levels = list(levels)
        self.over = Event()

    def memory_level(self, _process: int | None) -> MemoryLevel | Absent:
        """Return the next level; the last one again and again."""
        if len(self._levels) == 1:
            self.over.set()
            return self._levels[0]
        return self._levels.pop(0)


def rise_of(monkeypatch: pytest.MonkeyPatch, *levels: MemoryLevel | Absent) -> MemoryLevel | Absent:
    """Return the rise where the driver gives these levels, the first of them before the call."""
    monkeypatch.setattr(driver_level, "POLL_S", 0.001)
    gpu: Any = InventedGpu(levels)
    with level_rise(gpu, 11) as rise:
        assert gpu.over.wait(60)
    return rise()


@pytest.mark.parametrize("scope", [of_process, of_device])
def test_a_rise_is_the_highest_level_over_the_one_before(
    monkeypatch: pytest.MonkeyPatch, scope: Any
) -> None:
    assert rise_of(monkeypatch, scope(3), scope(9), scope(4)) == scope(6)
    assert rise_of(monkeypatch, scope(3), UNREAD, scope(9), scope(1)) == scope(6)
    assert rise_of(monkeypatch, scope(3), scope(2)) == scope(0)


@pytest.mark.parametrize(
    "levels",
    [
        (of_device(3), of_process(9)),
        (of_device(3), of_device(4), of_process(9)),
        (of_process(3), of_device(9)),
        (of_process(3), of_process(9), of_device(3)),
    ],
)
def test_a_process_that_is_listed_late_or_no_longer_has_no_rise(
    monkeypatch: pytest.MonkeyPatch, levels: tuple[MemoryLevel, ...]
) -> None:
    risen = rise_of(monkeypatch, *levels)
    assert isinstance(risen, Absent)
    assert "did not tell this process's level" in risen.reason


def test_a_level_that_can_t_be_read_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rise_of(monkeypatch, UNREAD) == UNREAD
    assert rise_of(monkeypatch, of_process(3), UNREAD) == UNREAD


def test_a_call_that_no_reading_fell_into_has_no_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_level, "POLL_S", 60.0)
    gpu: Any = InventedGpu([of_process(3)])
    with level_rise(gpu, 11) as rise:
        risen = rise()
    assert risen == Absent("NVML: the call was over before its level was read")
