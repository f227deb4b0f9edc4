"""Every kernel of the table of tiles as it is launched: compiled from what, and for which chip."""

from typing import Any, NamedTuple

import torch

from tests.variants.triton.compiled.ahead_of_time import MachineCode, compiled
from variants.triton.kernel.forward import forward_kernel
from variants.triton.kernel.key_gradients import key_gradients_kernel
from variants.triton.kernel.query_gradients import query_gradients_kernel
from variants.triton.tiles import padded, tiles_for

KERNELS: dict[str, Any] = {
    "forward": forward_kernel,
    "key_gradients": key_gradients_kernel,
    "query_gradients": query_gradients_kernel,
}
CHIPS = (80, 90, 100)
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
SHARED_BYTES = {80: 166_912, 90: 232_448, 100: 232_448}  # that one block may have
_TENSORS = {"q", "k", "v", "out", "d_out", "d_q", "d_k", "d_v"}
_INTEGERS = {"head_order", "runs", "work", "visited"}


class Configuration(NamedTuple):
    """A kernel for a chip, a head_dim and a dtype."""

    kernel: str
    chip: int
    head_dim: int
    dtype: str = "bf16"
    causal: bool = True
    ragged: bool = False
    """A batch of any form, and the slopes' gradient with it."""

    @property
    def id(self) -> str:
        side = "ragged" if self.ragged else "causal" if self.causal else "bidirectional"
        return f"{self.kernel}-sm_{self.chip}-d{self.head_dim}-{self.dtype}-{side}"

    def compile(self) -> MachineCode:
        """Return the kernel's machine code, compiled as a launch would on the chip."""
        kernel = KERNELS[self.kernel]
        table = tiles_for(self.chip, self.head_dim, DTYPES[self.dtype])
        tiles = getattr(table, self.kernel)
        constants: dict[str, Any] = {
            "HEAD_DIM": self.head_dim,
            "DIM": padded(self.head_dim),
            "ROWS": tiles.rows,
            "KEYS": tiles.keys,
            "STAGES": tiles.stages,
            "CAUSAL": self.causal,
            "RAGGED": self.ragged,
            "WIDE": self.dtype == "fp16",
            "SLOPES": self.ragged,
            "PRECISION": "tf32x3" if self.dtype == "fp32" else "tf32",
        }
        signature = {name: _kind(name, self.dtype) for name in kernel.arg_names}
        return compiled(
            kernel,
            signature,
            {name: constants[name] for name in kernel.arg_names if name in constants},
            self.chip,
            num_warps=tiles.warps,
        )


def _kind(name: str, dtype: str) -> str:
    if name in _TENSORS:
        return f"*{dtype}"
    if name in _INTEGERS:
        return "*i32"
    if name in {"scale", "log2_share"}:
        return "fp32"
    is_number = name.endswith("_stride") or name in {
        *("batches", "heads", "kv_heads", "q_len", "kv_len", "blocks", "slots")
    }
    return "i32" if is_number else "*fp32"


CONFIGURATIONS = [
    *(
        Configuration(kernel, chip, dim)
        for kernel in KERNELS
        for chip in CHIPS
        for dim in (64, 128)
    ),
    *(Configuration("forward", chip, 256) for chip in CHIPS),
    *(Configuration("forward", 90, dim) for dim in (16, 80)),
    *(Configuration("forward", 90, dim, causal=False) for dim in (64, 128)),
    *(Configuration(kernel, 90, 64, dtype) for kernel in KERNELS for dtype in ("fp16", "fp32")),
    Configuration("forward", 90, 128, "fp32"),
    *(Configuration(kernel, 90, 64, ragged=True) for kernel in KERNELS),
]
