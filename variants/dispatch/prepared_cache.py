"""Attention that was prepared, kept for the last shapes: so many, and so many bytes.

A dense mask of a long shape takes gigabytes, so a number of shapes alone bounds nothing.
"""

import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any, NamedTuple

from torch import Tensor

from variants.problem import Attention, Spec


class _Entry(NamedTuple):
    attention: Attention
    held: int = 0


class PreparedCache:
    """Prepared attention by variant and spec, the last used kept; threads may share it."""

    def __init__(self, at_most: int, bytes_at_most: int) -> None:
        """Keep `at_most` shapes, which hold `bytes_at_most` together or are one."""
        self._at_most, self._bytes_at_most = at_most, bytes_at_most
        self._entries: OrderedDict[tuple[str, Spec], _Entry] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, variant: str, spec: Spec, prepare: Callable[[], Attention]) -> Attention:
        """Return what was prepared for a shape, or what `prepare` returns; it may raise."""
        key = variant, spec
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                return entry.attention
        attention = prepare()
        with self._lock:
            self._weigh_last()
            self._entries[key] = _Entry(attention)
            self._make_room()
        return attention

    def _weigh_last(self) -> None:
        """Note what the shape used last holds: masks are built at the first call, not before."""
        if self._entries:
            key = next(reversed(self._entries))
            attention = self._entries[key].attention
            self._entries[key] = _Entry(attention, held_bytes(attention))

    def _make_room(self) -> None:
        held = sum(entry.held for entry in self._entries.values())
        while len(self._entries) > 1 and (
            len(self._entries) > self._at_most or held > self._bytes_at_most
        ):
            held -= self._entries.popitem(last=False)[1].held


def held_bytes(root: object) -> int:
    """Return the bytes of every tensor that a callable holds in its closures and containers."""
    storages: dict[int, int] = {}
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            storages[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
        else:
            waiting += _inside(item)
    return sum(storages.values())


def _inside(item: Any) -> Iterable[Any]:
    if isinstance(item, types.FunctionType):
        return [*_contents(item), *vars(item).values()]
    if isinstance(item, dict):
        return list(item.values())
    return item if isinstance(item, list | tuple) else []


def _contents(function: types.FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # nothing in it yet
            continue
