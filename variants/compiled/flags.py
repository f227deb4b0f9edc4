"""The flags that C++ is compiled with: for this processor, or for the levels that a wheel ships.

setup.py reads this module too, so it imports no torch.
"""

from pathlib import Path
from typing import NamedTuple


class Level(NamedTuple):
    """Processors that one library serves: its name, its flags, and what /proc/cpuinfo must list."""

    name: str
    flags: tuple[str, ...]
    features: frozenset[str]


def flags_for(*processor: str) -> tuple[str, ...]:
    """Return all flags of a library for the processor that these flags name."""
    return (
        *("-O3", *processor, "-std=c++17", "-fno-math-errno"),
        *("-fopenmp", "-shared", "-fPIC", "-Wno-psabi"),
    )


FLAGS = flags_for("-march=native")

_AVX2 = frozenset(["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"])
_AVX512 = _AVX2 | frozenset(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])
_BF16 = _AVX512 | frozenset(["avx512_bf16"])
_AMX = _BF16 | frozenset(["amx_tile", "amx_bf16"])

LEVELS = (
    Level(
        "amx-bf16",
        flags_for("-march=x86-64-v4", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
        _AMX,
    ),
    Level("avx512-bf16", flags_for("-march=x86-64-v4", "-mavx512bf16"), _BF16),
    Level("avx512", flags_for("-march=x86-64-v4"), _AVX512),
    Level("avx2", flags_for("-march=x86-64-v3"), _AVX2),
)
"""What a wheel for x86-64 ships, the best first."""


def place(source: Path, level: Level) -> Path:
    """Return where a wheel has the library of `source` for a level."""
    return source.with_name("prebuilt") / f"{source.stem}-{level.name}.so"
