"""TODO."""

import types
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor


def storages(root: object, apart_from: Sequence[Tensor] = ()) -> dict[int, int]:
    """Return the size by address of every tensor storage that a callable holds on to.

    Follows closures, bound arguments, containers and attributes, and no module or global.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in apart_from}
    found: dict[int, int] = {}
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            storage = item.untyped_storage()
            if storage.data_ptr() not in known:
                found[storage.data_ptr()] = storage.nbytes()
        else:
            waiting += _held_by(item)
    return found


def _held_by(item: Any) -> Iterable[Any]:
    if isinstance(item, types.FunctionType):
        cells = [cell.cell_contents for cell in item.__closure__ or () if _is_filled(cell)]
        return [*cells, *(item.__defaults__ or ()), *vars(item).values()]
    if isinstance(item, types.MethodType):
        return [item.__self__, item.__func__]
    if isinstance(item, type | types.ModuleType | str | bytes | int | float):
        return []
    if isinstance(item, dict):
        return list(item.values())
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    bound = [getattr(item, name, None) for name in ("func", "args", "keywords")]
    return [*bound, *getattr(item, "__dict__", {}).values()]


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
