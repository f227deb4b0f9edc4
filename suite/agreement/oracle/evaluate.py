"""The oracle: the formula in float64, and a yardstick with the case's rounding for the budget."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from suite.agreement.inputs import Inputs
from suite.agreement.oracle.formula import Noise, Scoring, attend, gradients, rotate
from suite.agreement.oracle.portions import Portion, heads_at_once, rows_at_once
from variants.catalog import Answers
from variants.problem import Spec


class Precision(NamedTuple):
    """The dtype that the formula computes in, the one that its steps are rounded to, its noise."""

    wide: torch.dtype
    rounding: torch.dtype
    noise: Noise | None = None


ROTARY: frozenset[Answers] = frozenset({"rope", "alibi_rope"})

NEGLIGIBLE = 18.0
"""Keys whose weights together are under e^-18 of a row's largest do not show in float32."""

TRUTH = Precision(torch.float64, torch.float64)
SURVEY = Precision(torch.float32, torch.float32)


def yardstick(dtype: torch.dtype, generator: torch.Generator) -> Precision:
    """Return the precision of a formula that rounds to `dtype` and has scores in float32."""
    return Precision(torch.float32, dtype, Noise(generator))


@dataclass(frozen=True)
class Formula:
    """The formula on some rows of a case's inputs.

    `answers` is the catalog's: for "no_bias" and "rope" the formula has no bias, for "t5_bias" that
    of the first distance in a bucket, else ALiBi's. For "rope" and "alibi_rope" queries and the
    last q_len keys are turned by their positions. The keys before those come from a cache, and are
    turned already. `rows` are sorted.
    """

    spec: Spec
    inputs: Inputs
    answers: Answers
    rows: Tensor

    def evaluate(self, portion: Portion, precision: Precision) -> dict[str, Tensor]:
        """Return `out`; with dout also `dq`, `dk` and `dv`; all in the wide dtype.

        out and dq are [batch, heads, rows, head_dim], dk and dv have k's shape.
        """
        blocks = list(self.by_blocks(portion, precision))
        of_queries = [name for name in ("out", "dq") if name in blocks[0].of_queries]
        by_heads: dict[int, list[Block]] = {}
        for block in blocks:
            by_heads.setdefault(block.portion.heads.start, []).append(block)
        results = {
            name: torch.cat(
                [
                    torch.cat([block.of_queries[name] for block in pieces], dim=2)
                    for pieces in by_heads.values()
                ],
                dim=1,
            )
            for name in of_queries
        }
        return results | blocks[-1].of_keys

    def by_blocks(self, portion: Portion, precision: Precision) -> Iterator["Block"]:
        """Yield a portion's results block by block; the last block has dk and dv of all blocks.

        All query heads of the portion are evaluated together, unless one kv head has more than
        fit. Keys that no row of a causal block sees are left out.
        """
        pieces = list(portion.by_heads(heads_at_once(self.spec)))
        yield from self._blocks(portion, pieces, precision, [self.spec.kv_len] * len(pieces))

    def survey_blocks(self, portion: Portion) -> Iterator["Block"]:
        """Yield the results of one kv head in float32, query head by query head.

        Keys that are too far away to matter are left out, so that long cases take seconds.
        """
        pieces = list(portion.by_heads(1))
        windows = [self._window(piece) for piece in pieces]
        yield from self._blocks(portion, pieces, SURVEY, windows)

    def _window(self, piece: Portion) -> int:
        """Return how far a key of one query head may be away before its weight can't matter.

        A score is at most c = scale * |q| |k| less slope * distance, and a row's largest is at
        least -c, at its own position. So all keys from a distance w on weigh at most
        exp(2c - slope * w) / (1 - exp(-slope)) of it on each side, here e^-18.
        """
        slope = float(self.inputs.slopes[piece.heads.start])
        if slope <= 0 or self.answers not in {"alibi", "alibi_rope"}:
            return self.spec.kv_len
        q, k = piece.of_queries(self.inputs.q), piece.of_keys(self.inputs.k)
        lengths = [float(tensor.detach().float().norm(dim=3).max()) for tensor in (q, k)]
        most = abs(self.spec.scale) * lengths[0] * lengths[1]
        reach = (2 * most + NEGLIGIBLE - math.log(-math.expm1(-slope))) / slope
        return math.ceil(reach) if reach < self.spec.kv_len else self.spec.kv_len

    def _blocks(
        self,
        portion: Portion,
        pieces: Sequence[Portion],
        precision: Precision,
        windows: Sequence[int],
    ) -> Iterator["Block"]:
        """Yield the blocks of pieces of a portion, each with its window of keys."""
        wide = precision.wide
        k, v = (portion.of_keys(tensor.detach()) for tensor in (self.inputs.k, self.inputs.v))
        k, v = self._turn_keys(k, precision, 1), v.to(wide)
        sums: dict[str, Tensor] = {}
        if self.inputs.dout is not None:
            sums = {"dk": torch.zeros_like(k), "dv": torch.zeros_like(v)}
        heads_of_scores = pieces[0].of_queries(self.inputs.q)[:, :, 0, 0].numel()
        blocks = torch.split(self.rows, rows_at_once(self.spec, heads_of_scores))
        for piece, window in zip(pieces, windows, strict=True):
            for rows in blocks:
                keys = self._visible(rows, window)
                by_name = self._on_rows(rows, piece, k[:, :, keys], v[:, :, keys], keys, precision)
                for name, total in sums.items():
                    total[:, :, keys].add_(by_name.pop(name))
                last = piece is pieces[-1] and rows is blocks[-1]
                if last and sums:
                    sums["dk"] = self._turn_keys(sums["dk"], precision, -1)
                yield Block(piece, rows, by_name, sums if last else {})

    def _visible(self, rows: Tensor, window: int) -> slice:
        """Return the keys that some of these rows see, from the first to the last."""
        spec = self.spec
        first, last = (int(row) + spec.kv_len - spec.q_len for row in (rows[0], rows[-1]))
        past = last + 1 if spec.causal else min(spec.kv_len, last + 1 + window)
        return slice(max(0, first - window), past)

    def _on_rows(
        self,
        rows: Tensor,
        portion: Portion,
        k: Tensor,
        v: Tensor,
        keys: slice,
        precision: Precision,
    ) -> dict[str, Tensor]:
        """Return the results of some rows over some keys, in which k and v begin at `keys`."""
        spec, slopes = self.spec, self.inputs.slopes[portion.heads]
        slopes = torch.zeros_like(slopes) if self.answers in {"no_bias", "rope"} else slopes
        positions = rows + spec.kv_len - spec.q_len
        q = portion.of_queries(self.inputs.q.detach())[:, :, rows]
        q = self._turn(q, positions, precision)
        scoring = Scoring(
            spec.scale,
            spec.causal,
            positions - keys.start,
            precision.rounding,
            precision.noise,
            _window_of(spec),
            in_buckets=self.answers == "t5_bias",
        )
        if self.inputs.dout is None:
            return {"out": attend(q, k, v, slopes, scoring)}
        dout = portion.of_queries(self.inputs.dout)[:, :, rows].to(precision.wide)
        results = gradients(q, k, v, slopes, dout, scoring)
        by_name = dict(zip(("out", "dq", "dk", "dv"), results, strict=True))
        by_name["dq"] = self._turn(by_name["dq"], -positions, precision)
        return by_name

    def _turn_keys(self, keys: Tensor, precision: Precision, sign: int) -> Tensor:
        """Return keys, or dk, with the last q_len turned by their positions times `sign`."""
        if self.answers not in ROTARY:
            return keys.to(precision.wide)
        cached = max(0, self.spec.kv_len - self.spec.q_len)
        positions = torch.arange(cached, self.spec.kv_len, device=keys.device)
        turned = self._turn(keys[:, :, cached:], sign * positions, precision)
        return torch.cat([keys[:, :, :cached].to(precision.wide), turned], dim=2)

    def _turn(self, rows: Tensor, positions: Tensor, precision: Precision) -> Tensor:
        """Return rows in the wide dtype; turned, if they are, in the dtype that steps round to."""
        if self.answers not in ROTARY:
            return rows.to(precision.wide)
        return rotate(rows.to(precision.rounding), positions).to(precision.wide)


def _window_of(spec: Spec) -> tuple[int, int]:
    """Return how far before and after its own position a query sees; -1 is no limit.

    Specs of older trees, which `ab` runs, have no such field.
    """
    extras = getattr(spec, "extras", None)
    return (-1, -1) if extras is None else extras.window


class Block(NamedTuple):
    """The results of some heads and rows: `out` and `dq` of them, and in the last block dk, dv."""

    portion: Portion
    rows: Tensor
    of_queries: dict[str, Tensor]
    of_keys: dict[str, Tensor]
