"""What is compiled in threads at the same time, as the search for tiles does, is as it is alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget

from tests.variants.triton.compiled.configurations import Configuration
from variants.triton.tiles import Tiles
from variants.triton.tuning.search import candidates

FORWARD = Configuration("forward", 90, 64)
TARGET = GPUTarget("cuda", 90, 32)


def machine_code(tiles: Tiles) -> bytes:
    options = {"num_warps": tiles.warps}
    made = triton.compile(FORWARD.source(tiles), target=TARGET, options=options)
    code: bytes = made.asm["cubin"]
    return code


def test_threads_compile_the_same_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knobs.compilation, "always_compile", True)
    choices = candidates(FORWARD.tiles._replace(rows=64, warps=4))[:4]
    with ThreadPoolExecutor(len(choices)) as pool:
        together = list(pool.map(machine_code, choices))
    assert together == [machine_code(tiles) for tiles in choices]
    assert len(set(together)) == len(choices)
