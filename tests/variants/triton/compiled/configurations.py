"""Every kernel of the table of tiles as it is launched: compiled from what, and for which chip."""

from typing import Any, Literal, NamedTuple

import torch
from triton.compiler import ASTSource

from tests.variants.triton.compiled.ahead_of_time import (
    MachineCode,
    compile_kernel,
    source_of,
)
from variants.triton.kernel.combine import combine_kernel
from variants.triton.kernel.forward import forward_kernel
from variants.triton.kernel.key_gradients import key_gradients_kernel
from variants.triton.kernel.query_gradients import query_gradients_kernel
from variants.triton.kernel.split import split_kernel
from variants.triton.tiles import Tiles, has_fixed_maximum, padded_width, tiles_for

KERNELS: dict[str, Any] = {
    "forward": forward_kernel,
    "key_gradients": key_gradients_kernel,
    "query_gradients": query_gradients_kernel,
    "split": split_kernel,
    "combine": combine_kernel,
}
GRADIENTS = ("forward", "key_gradients", "query_gradients")
CHIPS = (80, 90, 100)
FIRST_WITH_TMA, WIDE_ROW_BYTES = 90, 128
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
SHARED_BYTES = {80: 166_912, 90: 232_448, 100: 232_448}  # that one block may have
LEAST_ROWS, HEADS_TOGETHER = 16, 4
_TENSORS = {"q", "k", "v", "out", "d_out", "d_q", "d_k", "d_v"}
_INTEGERS = {"head_order", "runs", "work", "visited", "needed"}

Form = Literal["causal", "bidirectional", "pointers", "ragged", "step", "steps", "packed", "chunk"]
"""What a kernel is compiled for.

"pointers" is causal too, of keys that TMA can't load. "ragged" is a batch of any form, with the
slopes' gradient. Of split keys "step" is a head's only query, "steps" are those of HEADS_TOGETHER
heads in caches of any length, "packed" are those of a server's packed batch, and "chunk" is a
prefill.
"""


class Configuration(NamedTuple):
    """A kernel for a chip, a head_dim and a dtype."""

    kernel: str
    chip: int
    head_dim: int
    dtype: str = "bf16"
    form: Form = "causal"

    @property
    def id(self) -> str:
        return f"{self.kernel}-sm_{self.chip}-d{self.head_dim}-{self.dtype}-{self.form}"

    @property
    def tiles(self) -> Tiles:
        """Return the tiles that the table has for it."""
        table = tiles_for(self.chip, self.head_dim, DTYPES[self.dtype])
        if self.form == "chunk":
            return table.forward
        if self.form in {"step", "packed"}:
            return table.decode._replace(rows=LEAST_ROWS)
        if self.form == "steps":
            return table.decode
        tiles: Tiles = getattr(table, self.kernel)
        return tiles

    @property
    def loads_by_tma(self) -> bool:
        """Return whether its launch makes descriptors of the keys and values."""
        row_bytes = padded_width(self.head_dim) * DTYPES[self.dtype].itemsize
        has_tma = self.chip >= FIRST_WITH_TMA and row_bytes >= WIDE_ROW_BYTES
        return self.kernel == "forward" and self.form in {"causal", "bidirectional"} and has_tma

    @property
    def has_fixed_maximum(self) -> bool:
        """Return whether a forward has a loop without a running maximum."""
        return has_fixed_maximum(self.chip, DTYPES[self.dtype])

    @property
    def sides(self) -> int:
        """Return on how many sides of its own tiles a block of queries has tiles."""
        return 2 if self.form == "bidirectional" else 1

    @property
    def whole_loops(self) -> int:
        """Return how many loops over tiles have no mask.

        A forward has one for each side, and where a maximum may be fixed a shorter one beside it.
        """
        if self.kernel != "forward":
            return 1
        return (2 if self.has_fixed_maximum else 1) * self.sides

    def compile(self) -> MachineCode:
        """Return the kernel's machine code, compiled as a launch would on the chip."""
        return compile_kernel(self.source(self.tiles), self.chip, num_warps=self.tiles.warps)

    def source(self, tiles: Tiles, float32_products: str = "tf32x3") -> ASTSource:
        """Return what the kernel is compiled from with some tiles."""
        kernel = KERNELS[self.kernel]
        constants: dict[str, Any] = {
            "HEAD_DIM": self.head_dim,
            "DIM": padded_width(self.head_dim),
            "ROWS": tiles.rows,
            "KEYS": tiles.keys,
            "STAGES": tiles.stages,
            "CAUSAL": self.form != "bidirectional",
            "RAGGED": self.form in {"ragged", "steps", "packed"},
            "TMA": self.loads_by_tma,
            "FIXED": self.has_fixed_maximum,
            "WIDE": self.dtype == "fp16",
            "SLOPES": self.form == "ragged",
            "TOGETHER": HEADS_TOGETHER if self.form in {"steps", "packed"} else 1,
            "NORMS": True,
            "PRECISION": float32_products if self.dtype == "fp32" else "tf32",
        }
        signature = {name: _kind(name, self.dtype) for name in kernel.arg_names}
        if self.loads_by_tma:
            tile = f"tensordesc<{self.dtype}[1,1,{tiles.keys},{padded_width(self.head_dim)}]>"
            signature |= {"k": tile, "v": tile}
        needed = {name: constants[name] for name in kernel.arg_names if name in constants}
        return source_of(kernel, signature, needed)


def _kind(name: str, dtype: str) -> str:
    if name in _TENSORS:
        return f"*{dtype}"
    if name in _INTEGERS:
        return "*i32"
    if name in {"scale", "log2_share", "log2_limit"}:
        return "fp32"
    is_number = name.endswith("_stride") or name in {
        *("batches", "heads", "kv_heads", "q_len", "kv_len", "blocks", "slots", "splits"),
        "most_queries",
    }
    return "i32" if is_number else "*fp32"


CONFIGURATIONS = [
    *(
        Configuration(kernel, chip, dim)
        for kernel in GRADIENTS
        for chip in CHIPS
        for dim in (64, 128)
    ),
    *(Configuration("forward", chip, 256) for chip in CHIPS),
    *(
        Configuration("forward", chip, dim, form="pointers")
        for chip in (90, 100)
        for dim in (64, 128, 256)
    ),
    *(Configuration("forward", 90, dim) for dim in (16, 80)),
    *(Configuration("forward", 90, dim, form="bidirectional") for dim in (64, 128)),
    *(Configuration(kernel, 90, 64, dtype) for kernel in GRADIENTS for dtype in ("fp16", "fp32")),
    Configuration("forward", 90, 128, "fp32"),
    *(Configuration(kernel, 90, 64, form="ragged") for kernel in GRADIENTS),
    *(Configuration("split", chip, 128, form="step") for chip in CHIPS),
    *(Configuration("split", chip, dim, form="steps") for chip in CHIPS for dim in (128, 256)),
    *(Configuration("split", chip, dim, form="chunk") for chip in CHIPS for dim in (64, 128)),
    *(Configuration("split", 90, 64, dtype, form="step") for dtype in DTYPES),
    Configuration("split", 90, 128, "fp32", form="steps"),
    *(Configuration("combine", chip, 128, form="steps") for chip in CHIPS),
    *(Configuration("combine", chip, 128, form="chunk") for chip in CHIPS),
    *(
        Configuration(kernel, chip, 128, form="packed")
        for kernel in ("split", "combine")
        for chip in CHIPS
    ),
]
