"""The named sweeps: a grid of cases each, and the purpose of each."""

from typing import NamedTuple

from suite.cases.case import FORMS, Case, Dtype, Form, Layout, Mode, Padding, Scale, SlopeScale


class Shape(NamedTuple):
    """The attention of a sweep's cases: heads, mask, slopes and scale.

    Without `kv_heads` there are as many kv heads as query heads. The fields `lengths`, `batch` and
    `model` are set for the shape of a model (suite/cases/models.py), `recording` for that of a
    recorded layer (suite/recordings).
    """

    heads: int = 8
    head_dim: int = 64
    slope_scale: SlopeScale = "1"
    kv_heads: int | None = None
    causal: bool = True
    bias_max: float = 8.0
    scale: Scale = "1/sqrt(d)"
    lengths: tuple[int, ...] = ()
    batch: int = 1
    model: str = ""
    recording: str = ""


MPT_7B = Shape(heads=32, head_dim=128)
FALCON_RW_1B = Shape(heads=32, head_dim=64, slope_scale="1/sqrt(d)")


class Sweep(NamedTuple):
    """A grid of cases: every length in every shape, dtype and mode.

    Without lengths or a batch the grid takes each shape's. With `q_len` only the last q_len
    positions of each length are queries. Without it every position is a query, except in decode,
    which has one. `seq_lens` are the lengths of one ragged batch, measured padded and packed;
    with `q_lens` it is a server's batch, in which each sequence has so many queries, packed alone.
    With `padding`, a side, variants are told which of its tokens are real. `window` is how far
    back a query sees. With `norms` the caller keeps the norms of its cache.
    """

    purpose: str
    lengths: tuple[int, ...]
    dtypes: tuple[Dtype, ...]
    modes: tuple[Mode, ...]
    shapes: tuple[Shape, ...] = (Shape(),)
    batch: int | None = None
    q_len: int | None = None
    seq_lens: tuple[int, ...] = ()
    q_lens: tuple[int, ...] = ()
    padding: Padding = ""
    window: int = 0
    norms: bool = False
    layout: Layout = "bhnd"
    logit_scale: float = 1.0
    passes: int = 3

    def cases(self) -> list[Case]:
        """Return the grid's cases, each once, with lengths innermost.

        Raises ValueError for a case that has no meaning.
        """
        cases = [
            Case(
                batch=len(self.seq_lens) or self.batch or shape.batch,
                heads=shape.heads,
                kv_heads=shape.kv_heads or shape.heads,
                q_len=max(self.q_lens, default=0)
                or self.q_len
                or (1 if mode == "decode" else length),
                kv_len=length,
                head_dim=shape.head_dim,
                causal=shape.causal,
                bias_max=shape.bias_max,
                slope_scale=shape.slope_scale,
                scale=shape.scale,
                dtype=dtype,
                mode=mode,
                layout=self.layout,
                logit_scale=self.logit_scale,
                seq_lens=self.seq_lens,
                q_lens=self.q_lens,
                form=form,
                padding=self.padding,
                window=self.window,
                norms=self.norms,
                recording=shape.recording,
            )
            for shape in self.shapes
            for mode in self.modes
            for dtype in self.dtypes
            for length in self._longest or self.lengths or shape.lengths
            for form in self._forms
        ]
        return list(dict.fromkeys(cases))

    def in_half(self, half: Dtype) -> "Sweep":
        """Return the grid with the dtype `half` in place of bfloat16, each dtype once."""
        dtypes: list[Dtype] = [half if it == "bfloat16" else it for it in self.dtypes]
        return self._replace(dtypes=tuple(dict.fromkeys(dtypes)))

    @property
    def _longest(self) -> tuple[int, ...]:
        return (max(self.seq_lens),) if self.seq_lens else ()

    @property
    def _forms(self) -> tuple[Form, ...]:
        if self.q_lens:
            return ("packed",)
        return FORMS if self.seq_lens else FORMS[:1]


SWEEPS = {
    "quick": Sweep(
        "the default on a CPU: inference at everyday lengths, some 4 minutes on 2 cores with AMX",
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
    "decode": Sweep(
        "one query against a cache that grows through 16 lengths",
        lengths=(512, 2048, 8192),
        dtypes=("bfloat16",),
        modes=("decode",),
    ),
    "chunked": Sweep(
        "chunked prefill: the last 512 queries of each length",
        lengths=(1024, 2048, 4096),
        dtypes=("bfloat16",),
        modes=("forward",),
        q_len=512,
    ),
    "ragged": Sweep(
        "a batch of sequences of different lengths, padded and packed",
        lengths=(),
        dtypes=("bfloat16",),
        modes=("forward",),
        seq_lens=(1024, 512, 384, 128),
    ),
    "server": Sweep(
        "a server's step: seven sequences in decode and a chunk of a prefill, packed",
        lengths=(),
        dtypes=("bfloat16",),
        modes=("forward",),
        seq_lens=(4096, 4096, 2048, 2048, 1024, 1024, 512, 2048),
        q_lens=(1, 1, 1, 1, 1, 1, 1, 512),
    ),
    "long": Sweep(
        "inference at long lengths",
        lengths=(2048, 4096, 8192),
        dtypes=("bfloat16",),
        modes=("forward",),
    ),
    "gpu": Sweep(
        "the default on a GPU: the shapes of mpt-7b and falcon-rw-1b, forward and backward",
        lengths=(512, 1024, 2048, 4096, 8192, 16384, 32768),
        dtypes=("bfloat16",),
        modes=("forward", "backward"),
        shapes=(MPT_7B, FALCON_RW_1B),
    ),
    "ci": Sweep(
        "what `ab` and `aa` compare: everyday lengths, the same on every device",
        lengths=(512, 1024),
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
PAIRED_SWEEP = "ci"
DEFAULT_SWEEPS = {"cpu": "quick", "cuda": "gpu"}
