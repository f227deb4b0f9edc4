"""The named sweeps: which cases belong together, and what each sweep is for."""

from typing import NamedTuple

from suite.case import Case, Dtype, Mode


class Sweep(NamedTuple):
    """A grid of cases: every length in every dtype and mode, with one shape."""

    purpose: str
    lengths: tuple[int, ...]
    dtypes: tuple[Dtype, ...]
    modes: tuple[Mode, ...]
    batch: int = 1
    heads: int = 8
    head_dim: int = 64
    logit_scale: float = 1.0
    passes: int = 3

    def cases(self) -> list[Case]:
        """Return the grid's cases, lengths innermost."""
        return [
            Case(
                batch=self.batch,
                heads=self.heads,
                kv_heads=self.heads,
                q_len=length,
                kv_len=length,
                head_dim=self.head_dim,
                dtype=dtype,
                mode=mode,
                logit_scale=self.logit_scale,
            )
            for mode in self.modes
            for dtype in self.dtypes
            for length in self.lengths
        ]


SWEEPS = {
    "quick": Sweep(
        "the default on a CPU: inference at everyday lengths, under 3 minutes on 2 cores",
        lengths=(512, 1024),
        dtypes=("float32", "bfloat16"),
        modes=("forward",),
    ),
    "training": Sweep(
        "forward and backward together, in the three dtypes",
        lengths=(512, 1024, 2048),
        dtypes=("float32", "bfloat16", "float16"),
        modes=("backward",),
    ),
    "inference": Sweep(
        "forward alone up to twice a usual training length, in the three dtypes",
        lengths=(512, 1024, 2048, 4096),
        dtypes=("float32", "bfloat16", "float16"),
        modes=("forward",),
    ),
    "long": Sweep(
        "inference where the square of the length hurts",
        lengths=(2048, 4096, 8192),
        dtypes=("bfloat16",),
        modes=("forward",),
    ),
    "smoke": Sweep(
        "does every variant run here? One pass over a tiny case; no figure to quote",
        lengths=(128,),
        dtypes=("float32", "bfloat16", "float16"),
        modes=("forward", "backward"),
        passes=1,
    ),
}
DEFAULT_SWEEP = "quick"
