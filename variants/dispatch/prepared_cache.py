"""A cache of prepared attention for the most recent shapes, limited in number and in bytes.

A number alone would bound no memory: a dense mask for a long shape takes gigabytes.
"""

import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any

from torch import Tensor

from variants.problem import Attention, Spec


class _CacheEntry:
    """An attention, the bytes that it held when weighed, and whether it was used since."""

    def __init__(self, attention: Attention) -> None:
        self.attention, self.size, self.is_used = attention, 0, True


class PreparedCache:
    """Prepared attention by variant and spec, the most recently used; threads may share it."""

    def __init__(self, at_most: int, bytes_at_most: int) -> None:
        """Cache up to `at_most` shapes, as long as they hold up to `bytes_at_most` bytes together.

        The newest shape is always cached, whatever it holds.
        """
        self._at_most, self._bytes_at_most = at_most, bytes_at_most
        self._entries: OrderedDict[tuple[str, Spec], _CacheEntry] = OrderedDict()
        self._used: list[_CacheEntry] = []  # since they were weighed
        self._bytes = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget all that is prepared."""
        with self._lock:
            self._entries.clear()
            self._used.clear()
            self._bytes = 0

    def get(self, variant: str, spec: Spec, prepare: Callable[[], Attention]) -> Attention:
        """Return the cached attention of a variant and spec, or cache that of `prepare`.

        Raises what `prepare` raises.
        """
        key = variant, spec
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                if not entry.is_used:
                    entry.is_used = True
                    self._used.append(entry)
                return entry.attention
        attention = prepare()
        with self._lock:
            self._weigh_used()
            self._forget(key)  # of another thread, which prepared the same
            self._entries[key] = _CacheEntry(attention)
            self._used.append(self._entries[key])
            self._make_room()
        return attention

    def _weigh_used(self) -> None:
        """Count the bytes of all that was used since it was weighed: a call may make it larger.

        A call that still runs in another thread may add to them until its shape is used again.
        """
        for entry in self._used:
            size = tensor_bytes(entry.attention)
            self._bytes += size - entry.size
            entry.size, entry.is_used = size, False
        self._used.clear()

    def _make_room(self) -> None:
        while len(self._entries) > 1 and (
            len(self._entries) > self._at_most or self._bytes > self._bytes_at_most
        ):
            self._forget(next(iter(self._entries)))

    def _forget(self, key: tuple[str, Spec]) -> None:
        entry = self._entries.pop(key, None)
        self._bytes -= 0 if entry is None else entry.size


def tensor_bytes(root: object) -> int:
    """Return the bytes of all tensors that a callable holds in closures and containers."""
    storages: dict[int, int] = {}
    visited: set[int] = set()
    to_visit: list[Any] = [root]
    while to_visit:
        item = to_visit.pop()
        if id(item) in visited:
            continue
        visited.add(id(item))
        if isinstance(item, Tensor):
            storages[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
        else:
            to_visit += _inside(item)
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
        except ValueError:  # the cell is still empty
            continue
