"""The tiles of a launch: those that a search found for these kernels and this chip, or fixed ones.

`make gpu-kernel` writes a chip's file. A launch reads it once a process, and nothing else of it.
"""

import hashlib
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

import msgspec
import torch

from variants.host.user_cache import user_cache
from variants.problem import Unsupported
from variants.triton.chip import capability
from variants.triton.tiles import TileTable, refuse_tiles, tiles_for

_KERNELS = Path(__file__).parents[1] / "kernel"
_LARGEST_BYTES = 1 << 20


class TunedTable(msgspec.Struct, frozen=True):
    """The tiles of a head_dim and dtype, such as 64 and "bfloat16"."""

    head_dim: int
    dtype: str
    tiles: TileTable


class TunedChip(msgspec.Struct, frozen=True):
    """A file: tables that were found on a chip, named as CUDA names it, for kernels of a hash."""

    chip: str
    kernels: str
    tables: tuple[TunedTable, ...]


def table_for(device: torch.device, head_dim: int, dtype: torch.dtype) -> TileTable:
    """Return the tiles of a launch on a device.

    Raises Unsupported for a file that is no table of tiles.
    """
    if device.type == "cuda":
        for table in tuned_tables(torch.cuda.get_device_name(device)):
            if (table.head_dim, table.dtype) == (head_dim, name_of(dtype)):
                return table.tiles
    return tiles_for(capability(device), head_dim, dtype)


@cache
def tuned_tables(chip: str) -> tuple[TunedTable, ...]:
    """Return the tables of a chip's file; none, if it is missing or is of other kernels."""
    path = path_of(chip)
    if path is None or not path.is_file():
        return ()
    found = read(path)
    return found.tables if (found.chip, found.kernels) == (chip, kernels_hash()) else ()


def read(path: Path) -> TunedChip:
    """Return what a file holds. Raises Unsupported, in one line, for one that can't be used."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES)
        found = msgspec.json.decode(content, type=TunedChip)
        for table in found.tables:
            for tiles in table.tiles:
                refuse_tiles(tiles)
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise Unsupported(
            f"{path}: no table of tiles ({str(error)[:200]}); delete it, and `make gpu-kernel` "
            "makes it anew"
        ) from None
    return found


def write(chip: str, tables: tuple[TunedTable, ...]) -> Path:
    """Write a chip's file for the kernels of this source, and return where it is.

    Raises RuntimeError where the user has no home directory.
    """
    path = path_of(chip)
    if path is None:
        raise RuntimeError("no home directory to keep tiles in: set XDG_CACHE_HOME")
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".part")
    written.write_bytes(msgspec.json.encode(TunedChip(chip, kernels_hash(), tables)))
    written.replace(path)
    tuned_tables.cache_clear()
    return path


def path_of(chip: str) -> Path | None:
    """Return the file of a chip; None where the user has no home directory."""
    try:
        folder = user_cache() / "triton_window"
    except RuntimeError:
        return None
    return folder / f"{re.sub(r'[^a-z0-9]+', '-', chip.lower())}.json"


@cache
def kernels_hash() -> str:
    """Return a hash of the kernels' source and of Triton's version: what tiles were found for."""
    found = hashlib.sha256(version("triton").encode())
    for path in sorted(_KERNELS.glob("*.py")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a dtype, such as "bfloat16"."""
    return str(dtype).removeprefix("torch.")
