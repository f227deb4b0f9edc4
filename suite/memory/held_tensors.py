"""The tensors that a callable keeps alive, such as the masks that a variant prepared.

On a CPU torch does not count allocations, so a variant's persistent bytes are the sizes of the
storages that can be reached from its attention.
"""

import types
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor


def storages(root: object, apart_from: Sequence[Tensor] = ()) -> dict[int, int]:
    """Return the size in bytes of every tensor storage that `root` keeps alive, by address.

    The search follows closures, bound arguments, containers and attributes, but no module and no
    global. Storages of the tensors `apart_from` are left out.
    """
    excluded = {tensor.untyped_storage().data_ptr() for tensor in apart_from}
    sizes: dict[int, int] = {}
    visited: set[int] = set()
    queue: list[Any] = [root]
    while queue:
        item = queue.pop()
        if id(item) in visited:
            continue
        visited.add(id(item))
        if isinstance(item, Tensor):
            storage = item.untyped_storage()
            if storage.data_ptr() not in excluded:
                sizes[storage.data_ptr()] = storage.nbytes()
        else:
            queue += _references(item)
    return sizes


def _references(item: Any) -> Iterable[Any]:
    """Return the objects that an object refers to."""
    if isinstance(item, types.FunctionType):
        cells = [cell.cell_contents for cell in item.__closure__ or () if _has_content(cell)]
        return [*cells, *(item.__defaults__ or ()), *vars(item).values()]
    if isinstance(item, types.MethodType):
        return [item.__self__, item.__func__]
    if isinstance(item, type | types.ModuleType | str | bytes | int | float):
        return []
    if isinstance(item, dict):
        return list(item.values())
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    partial = [getattr(item, name, None) for name in ("func", "args", "keywords")]
    return [*partial, *getattr(item, "__dict__", {}).values()]


def _has_content(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # the variable is not assigned yet
        return False
