"""Every kernel compiles for gfx942, AMD's MI300, to matrix products and without a spill.

It has never run there, so `triton_window` declines ROCm.
"""

import re

import pytest
import triton
from triton.backends.compiler import GPUTarget

from tests.variants.triton.compiled.configurations import (
    GRADIENTS,
    LEAST_ROWS,
    Configuration,
)
from variants.triton.tiles import Tiles

MI300 = GPUTarget("hip", "gfx942", 64)
SHARED_BYTES = 65_536  # that one block may have
TILES = Tiles(64, 64, 4, 1)
_OF_NVIDIA = 80  # a chip without TMA, whose tiles are not taken here


def configurations() -> list[Configuration]:
    return [
        *(Configuration(kernel, _OF_NVIDIA, dim) for kernel in GRADIENTS for dim in (64, 128)),
        *(Configuration(kernel, _OF_NVIDIA, 64, form="ragged") for kernel in GRADIENTS),
        *(Configuration("forward", _OF_NVIDIA, 64, dtype) for dtype in ("fp16", "fp32")),
        *(Configuration("split", _OF_NVIDIA, dim, form="steps") for dim in (64, 128)),
        Configuration("split", _OF_NVIDIA, 128, form="step"),
        *(Configuration("combine", _OF_NVIDIA, dim, form="steps") for dim in (64, 128)),
        *(Configuration(kernel, _OF_NVIDIA, 128, form="packed") for kernel in ("split", "combine")),
    ]


def name(each: Configuration) -> str:
    return f"{each.kernel}-d{each.head_dim}-{each.dtype}-{each.form}"


def private_bytes(code: str) -> int:
    """Return the memory of each thread, where registers go for which there is no room."""
    (size,) = re.findall(r"\.private_segment_fixed_size: +(\d+)", code)
    return int(size)


@pytest.mark.parametrize("each", configurations(), ids=name)
def test_it_has_room_multiplies_matrices_and_does_not_spill(each: Configuration) -> None:
    tiles = TILES._replace(rows=LEAST_ROWS) if each.form in {"step", "packed"} else TILES
    options = {"num_warps": tiles.warps, "num_stages": tiles.stages}
    made = triton.compile(each.source(tiles, "ieee"), target=MI300, options=options)
    code = made.asm["amdgcn"]
    assert "v_mfma_f32" in code
    assert made.metadata.shared <= SHARED_BYTES
    assert private_bytes(code) == 0


def test_a_tile_with_too_many_warps_is_seen_to_spill() -> None:
    source = Configuration("key_gradients", _OF_NVIDIA, 128).source(TILES)
    made = triton.compile(source, target=MI300, options={"num_warps": 8, "num_stages": 1})
    assert private_bytes(made.asm["amdgcn"]) > 0
