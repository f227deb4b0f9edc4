"""Kernels compiled for chips that are not here, and what their machine code is made of."""

import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from variants.triton.kernel.bounds import ANY_LENGTH

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
PRODUCTS = ("HGMMA", "HMMA", "UTCHMMA")
_COUNTED = (
    *PRODUCTS,
    "LDGSTS",
    "UTMALDG",
    "LDG",
    "STS",
    "LDS",
    "MUFU",
    "LDL",
    "STL",
    "BAR",
    "WARPSYNC",
)
_ADDRESS = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/ ")
_JUMP = re.compile(r"\bBRA\b.*?0x([0-9a-f]+)")


class Loop(NamedTuple):
    """A loop that multiplies matrices: how many instructions it has, and how many of a kind."""

    instructions: int
    kinds: dict[str, int]


class MachineCode(NamedTuple):
    """What a kernel takes of a chip. Spills are loads and stores of registers that had no room."""

    registers: int
    shared_bytes: int
    spills: int
    loops: list[Loop]

    @property
    def main_loop(self) -> Loop:
        """Return the shortest of the loops, which has no mask: most tiles go through it."""
        return self.shortest_loops(1)[0]

    def shortest_loops(self, count: int) -> list[Loop]:
        """Return so many of the loops, the shortest first."""
        return sorted(self.loops, key=lambda loop: loop.instructions)[:count]


def source_of(kernel: Any, signature: dict[str, str], constants: dict[str, Any]) -> ASTSource:
    """Return what a kernel is compiled from, with the alignment that a launch finds."""
    names = kernel.arg_names
    kinds = {name: "constexpr" if name in constants else signature[name] for name in names}
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(names)
        if kinds[name].startswith("*") or (name.endswith("_stride") and name not in ANY_LENGTH)
    }
    return ASTSource(kernel, signature=kinds, constexprs=constants, attrs=aligned)


def compile_kernel(source: ASTSource, chip: int, **options: int) -> MachineCode:
    """Compile a kernel for one of NVIDIA's chips, such as 90, and read its machine code."""
    made = triton.compile(source, target=GPUTarget("cuda", chip, 32), options=options)
    with TemporaryDirectory() as folder:
        binary = Path(folder) / "kernel.cubin"
        binary.write_bytes(made.asm["cubin"])
        usage = _dump("--dump-resource-usage", binary)
        text = _dump("-sass", binary)
    registers = re.search(r"REG:(\d+)", usage)
    lines = [line for line in text.splitlines() if _ADDRESS.match(line)]
    spills = _count(lines, "LDL") + _count(lines, "STL")
    return MachineCode(
        int(registers[1]) if registers else 0, made.metadata.shared, spills, _loops(lines)
    )


def _dump(option: str, binary: Path) -> str:
    command = [str(_TOOLS / "cuobjdump"), option, str(binary)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _count(lines: list[str], word: str) -> int:
    return sum(bool(re.search(rf"\b{word}\b", line)) for line in lines)


def _loops(lines: list[str]) -> list[Loop]:
    """Return the innermost loops that multiply matrices, in the order of the code."""
    place = {int(_ADDRESS.match(line)[1], 16): number for number, line in enumerate(lines)}  # type: ignore[index]
    ranges = []
    for number, line in enumerate(lines):
        jump = _JUMP.search(line)
        if jump and (begin := place.get(int(jump[1], 16), number)) < number:
            ranges.append((begin, number))
    found = []
    for begin, end in ranges:
        if any(
            begin <= one and other <= end and (one, other) != (begin, end) for one, other in ranges
        ):
            continue
        body = lines[begin : end + 1]
        kinds = {word: many for word in _COUNTED if (many := _count(body, word))}
        if kinds.keys() & set(PRODUCTS):
            found.append(Loop(len(body), kinds))
    return found
