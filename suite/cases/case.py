"""A case: one attention problem to measure, in plain values, with a readable id."""

from typing import Annotated, Literal, get_args

import msgspec

from suite.cases.mixed_batch import notation
from suite.recordings.names import recorded_id

Dtype = Literal["float32", "bfloat16", "float16"]
Mode = Literal["forward", "backward", "decode"]
Layout = Literal["bhnd", "bnhd", "paged"]
Form = Literal["padded", "packed"]
Padding = Literal["", "left", "right"]
SlopeScale = Literal["1", "1/sqrt(d)"]
Scale = Literal["1/sqrt(d)", "1/d"]

DTYPES: tuple[str, ...] = get_args(Dtype)
DECODE_STEPS = 16
PAGE_SIZE = 16
"""The slots in a page of layout `paged`: what vLLM takes where nobody says otherwise."""
LARGEST = 1 << 24
"""The largest count or length; beyond it positions in float32 are no longer exact."""
MOST_LOGIT_SCALE = 1e6
MOST_BIAS_MAX = 126.0
"""The smallest slope is 2^-bias_max, and 2^-126 is the smallest normal number of float32."""

MODES: tuple[str, ...] = get_args(Mode)
LAYOUTS: tuple[str, ...] = get_args(Layout)
FORMS: tuple[Form, ...] = get_args(Form)
SIDES: tuple[str, ...] = ("left", "right")

Count = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Case(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One attention problem.

    q is [batch, heads, q_len, head_dim], k and v are [batch, kv_heads, kv_len, head_dim]. Queries
    are aligned bottom-right: the last query stands at the last key.

    Mode `backward` is forward and backward together. Mode `decode` is one step of q_len queries
    against a cache, at each of 16 lengths, the last of which is kv_len. Layout `bnhd` makes the
    tensors transposed views of [batch, length, heads, head_dim], as models have them. In layout
    `paged` the cache of decode lies in shuffled pages of PAGE_SIZE slots, and a variant that does
    not read pages copies them together in the call.
    `logit_scale` multiplies q, k and v. The slopes follow the standard rule for `bias_max`, and are
    divided by sqrt(head_dim) if `slope_scale` is "1/sqrt(d)".

    With `seq_lens` the batch is ragged: it has a sequence of each length in tokens. Form `padded`
    pads them at their ends to the longest, form `packed` lays them one after another into
    [1, heads, sum of lengths, head_dim]. With `padding` the padded form has its padding on that
    side, the variant is told which tokens are real, and padding holds NaN. With `q_lens` the batch
    is a server's: `seq_lens` are the keys of each sequence, its queries are so many of its last
    tokens, form is `packed`, and variants are told by cu_seqlens_k. With `window` a query
    sees so many positions before its own, and after it too if attention is not causal; 0 is no
    limit. With `norms` the caller has the norms of its cache, and a variant may read them. With
    `recording`, "FILE#LAYER@DIGEST", q, k and v are those of a model (suite/recordings).

    Raises ValueError for a problem that has no meaning.
    """

    heads: Count
    head_dim: Count
    q_len: Count
    kv_len: Count
    kv_heads: Count
    dtype: Dtype
    batch: Count = 1
    mode: Mode = "forward"
    causal: bool = True
    bias_max: Positive = 8.0
    slope_scale: SlopeScale = "1"
    scale: Scale = "1/sqrt(d)"
    layout: Layout = "bhnd"
    logit_scale: Positive = 1.0
    seq_lens: tuple[Count, ...] = ()
    q_lens: tuple[Count, ...] = ()
    form: Form = "padded"
    padding: Padding = ""
    window: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)] = 0
    norms: bool = False
    recording: str = ""

    def __post_init__(self) -> None:
        for name in ("heads", "kv_heads", "q_len", "kv_len", "head_dim", "batch"):
            if not 1 <= getattr(self, name) <= LARGEST:
                raise ValueError(
                    f"{name} {getattr(self, name)}: give at least 1 and at most {LARGEST}"
                )
        if not 0 < self.bias_max <= MOST_BIAS_MAX:
            raise ValueError(f"bias_max {self.bias_max}: give over 0, at most {MOST_BIAS_MAX}")
        if not 0 < self.logit_scale <= MOST_LOGIT_SCALE:
            raise ValueError(
                f"logit_scale {self.logit_scale}: "
                f"give a number over 0, at most {MOST_LOGIT_SCALE:g}"
            )
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads can't share {self.kv_heads} kv heads evenly")
        if self.causal and self.q_len > self.kv_len:
            raise ValueError(
                f"q_len {self.q_len} is over kv_len {self.kv_len}: "
                "the first causal queries would have no key; give longer lengths or fewer queries"
            )
        if self.recording and (self.seq_lens or self.logit_scale != 1):
            raise ValueError("recorded inputs have their own lengths and scale: give neither")
        self._check_sequences()
        self._check_decode()

    def _check_decode(self) -> None:
        if self.norms and self.mode != "decode":
            raise ValueError("norms are kept beside a cache: give decode")
        if self.layout == "paged" and (self.mode != "decode" or self.recording):
            raise ValueError("layout paged is of a cache with random numbers: give decode")
        if self.mode == "decode" and not self.causal:
            raise ValueError("decode: a bidirectional model has no cache; give forward")
        if self.mode == "decode" and self.q_len > self.kv_lens[0]:
            raise ValueError(
                f"decode steps through {DECODE_STEPS} lengths up to {self.kv_len}, the first "
                f"shorter than its {self.q_len} queries; give longer lengths"
            )

    def _check_sequences(self) -> None:
        if self.padding and not self.seq_lens:
            raise ValueError("padding needs seq_lens: the lengths of the sequences")
        if self.q_lens:
            self._check_queries()
        if not self.seq_lens:
            if self.form != "padded":
                raise ValueError("packed needs seq_lens: the lengths of the sequences")
            return
        if min(self.seq_lens) < 1 or max(self.seq_lens) > LARGEST:
            raise ValueError(f"seq_lens: a length is at least 1 and at most {LARGEST}")
        if self.mode == "decode":
            raise ValueError("decode: a ragged batch is measured forward and backward only")
        longest, most = max(self.seq_lens), max(self.q_lens or self.seq_lens)
        if (self.batch, self.q_len, self.kv_len) != (len(self.seq_lens), most, longest):
            raise ValueError(
                f"seq_lens make a batch of {len(self.seq_lens)} and lengths of {longest}; "
                "give no other batch, lengths or q_len"
            )

    def _check_queries(self) -> None:
        if self.form != "packed" or self.padding or self.mode != "forward":
            raise ValueError("q_lens: a server's batch is packed, has no padding, and is forward")
        if len(self.q_lens) != len(self.seq_lens):
            raise ValueError(
                f"q_lens has {len(self.q_lens)} sequences and seq_lens {len(self.seq_lens)}; "
                "give the queries and the keys of each"
            )
        for q_len, kv_len in self.sequence_lens:
            if not 1 <= q_len <= kv_len:
                raise ValueError(
                    f"q_lens: {q_len} queries of {kv_len} keys; give at least 1, at most the keys"
                )

    @property
    def id(self) -> str:
        """The case's name: lengths, heads, head_dim and dtype, then what is not the default."""
        parts = [
            self._length_id,
            f"h{self.heads}" if self.kv_heads == self.heads else f"h{self.heads}kv{self.kv_heads}",
            f"d{self.head_dim}",
            self.dtype,
        ]
        parts += [self.mode] if self.mode != "forward" else []
        parts += [f"b{self.batch}"] if self.batch != 1 and not self.seq_lens else []
        if self.seq_lens:
            parts += [form_name(self.form, self.padding, self.q_lens).replace(" ", "_")]
        parts += [f"window{self.window}"] if self.window else []
        parts += ["norms"] if self.norms else []
        parts += [recorded_id(self.recording)] if self.recording else []
        parts += ["full"] if not self.causal else []
        parts += [f"max{_short(self.bias_max)}"] if self.bias_max != 8 else []
        parts += ["slope_over_sqrt_d"] if self.slope_scale != "1" else []
        parts += ["scale_1_over_d"] if self.scale != "1/sqrt(d)" else []
        parts += [self.layout] if self.layout != "bhnd" else []
        parts += [f"x{_short(self.logit_scale)}"] if self.logit_scale != 1 else []
        return "-".join(parts)

    @property
    def _length_id(self) -> str:
        if self.q_lens:
            words = notation(self.q_lens, self.seq_lens)
            return "n" + words.replace(",", "_").replace(":", "of")
        length = f"n{'_'.join(map(str, self.seq_lens)) or self.kv_len}"
        return length if self.q_len == self.kv_len else f"q{self.q_len}-{length}"

    @property
    def sequence_lens(self) -> tuple[tuple[int, int], ...]:
        """The queries and the keys of each sequence of a ragged batch."""
        return tuple(zip(self.q_lens or self.seq_lens, self.seq_lens, strict=True))

    @property
    def is_dense(self) -> bool:
        """Whether it has a dense shape and no recording; selections are of such cases."""
        return self.has_dense_shape and not self.recording

    @property
    def has_dense_shape(self) -> bool:
        """Whether it has no sequences, window, norms or pages: a selection has advice for it."""
        return not (self.seq_lens or self.window or self.norms or self.layout == "paged")

    @property
    def kv_lens(self) -> range:
        """The kv_len of each step of one timed call: 16 in decode, otherwise one."""
        steps = DECODE_STEPS if self.mode == "decode" else 1
        return range(self.kv_len - steps + 1, self.kv_len + 1)

    @property
    def scale_value(self) -> float:
        """The factor on q·k."""
        return 1 / self.head_dim if self.scale == "1/d" else self.head_dim**-0.5

    @property
    def useful_flops(self) -> float:
        """Floating-point operations that the answer needs: of a call, in decode of an average step.

        All variants are rated by the same number, whatever they compute. It counts two matrix
        products forward and five backward, over the pairs of query and key that the causal mask
        leaves. A triangle counts as half of its square.
        """
        if self.seq_lens:
            pairs = sum(self._pairs(q_len, kv_len) for q_len, kv_len in self.sequence_lens)
        else:
            keys = (self.kv_lens[0] + self.kv_lens[-1]) / 2
            pairs = self.batch * self._pairs(self.q_len, keys)
        forward = 4.0 * self.heads * pairs * self.head_dim
        return forward * 3.5 if self.mode == "backward" else forward

    def _pairs(self, q_len: int, kv_len: float) -> float:
        """Return the pairs of the last q_len of kv_len tokens that the mask leaves.

        Half of a square, where a query sees as many keys as stand before it.
        """
        if not self.window and not self.causal:
            return q_len * kv_len
        limit = self.window + 1 if self.window else kv_len
        before = _area(kv_len, limit) - _area(kv_len - q_len, limit)
        return before if self.causal else before + _area(q_len, self.window)

    @property
    def useful_bytes(self) -> int:
        """Bytes that have to move: of a call, in decode of an average step.

        Every input is read once and every result written once. Forward reads q, k and v and writes
        out. Backward also reads dout and writes dq, dk and dv.
        """
        queries = sum(self.q_lens or self.seq_lens) or self.batch * self.q_len
        keys_twice = 2 * sum(self.seq_lens) or self.batch * (self.kv_lens[0] + self.kv_lens[-1])
        rows = 2 * queries * self.heads + keys_twice * self.kv_heads
        times = 2 if self.mode == "backward" else 1
        return times * rows * self.head_dim * (4 if self.dtype == "float32" else 2)


def form_name(form: str, padding: str, q_lens: tuple[int, ...]) -> str:
    """Return the form of a ragged batch, with the side of its padding, or how variants are told."""
    if q_lens:
        return f"{form} cu_seqlens_k"
    if not padding:
        return form
    return f"padded {padding}" if form == "padded" else "packed cu_seqlens"


def _area(length: float, limit: float) -> float:
    """Return the integral of min(x, limit) from 0 to length."""
    return length * length / 2 if length <= limit else limit * (length - limit / 2)


def _short(factor: float) -> str:
    return repr(factor).removesuffix(".0")
