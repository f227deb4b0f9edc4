"""The rule by which tiles are visited, in float64 and plain torch: the kernel is held to it."""

import math

import torch
from torch import Tensor

from variants.norms import BLOCK
from variants.triton.tiles import Tiles

AT_FIRST = 512
NEAR = 64
SMALL = Tiles(rows=64, keys=64, warps=4, stages=2)


def model_counts(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    share: float,
    tiles: Tiles = SMALL,
    *,
    causal: bool = True,
) -> Tensor:
    """Return how many tiles the rule visits: int [heads, blocks of queries, 2], before and after.

    q is [1, heads, q_len, head_dim], k and v are [1, heads, kv_len, head_dim]. `share` is what may
    be left out on a side.
    """
    heads, q_len = q.shape[1:3]
    counts = []
    for head in range(heads):
        of_head = (q[0, head].double(), k[0, head].double(), v[0, head].double())
        blocks = [
            Block(*of_head, float(slopes[head]), first, share, tiles, causal=causal)
            for first in range(0, q_len, tiles.rows)
        ]
        counts.append([block.counts() for block in blocks])
    return torch.tensor(counts)


def model_split_counts(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, share: float, tiles: Tiles = SMALL
) -> Tensor:
    """Return the tiles that splits visit, and those that are added: int [kv_heads, blocks, 2].

    Shapes are those of `model_counts`, k and v have kv_heads. Heads that share keys visit what
    any of them needs.
    """
    group, kv_heads = q.shape[1] // k.shape[1], k.shape[1]
    counts = []
    for kv_head in range(kv_heads):
        keys, values = k[0, kv_head].double(), v[0, kv_head].double()
        heads = range(kv_head * group, (kv_head + 1) * group)
        of_heads = [(q[0, head].double(), keys, values, float(slopes[head])) for head in heads]
        counts.append(
            [
                _split_counts(
                    [Block(*each, first, share, tiles, causal=True, near=NEAR) for each in of_heads]
                )
                for first in range(0, q.shape[2], tiles.rows)
            ]
        )
    return torch.tensor(counts)


def model_packed_counts(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, runs: Tensor, share: float, tiles: Tiles
) -> Tensor:
    """Return what `model_split_counts` does, of a packed batch: int [runs, kv_heads, blocks, 2].

    A block of rows has all queries of some heads that share keys. Runs have up to 16 queries.
    """
    group, kv_heads = q.shape[1] // k.shape[1], k.shape[1]
    counts = torch.zeros(len(runs), kv_heads, -(-group * 16 // tiles.rows), 2, dtype=torch.int64)
    for line, (_, first_query, queries, first_key, keys, _) in enumerate(runs.tolist()):
        of_queries = slice(first_query, first_query + queries)
        of_keys = slice(first_key, first_key + keys)
        for kv_head in range(kv_heads if queries else 0):
            tokens = [part[0, kv_head].double() for part in (k, v)]
            norms = [_norms_in_tensor(part, first_key, keys) for part in tokens]
            heads = [
                Block(
                    q[0, head, of_queries].double(),
                    tokens[0][of_keys],
                    tokens[1][of_keys],
                    float(slopes[head]),
                    0,
                    share,
                    tiles,
                    causal=True,
                    near=NEAR,
                    norms=norms,
                )
                for head in range(kv_head * group, (kv_head + 1) * group)
            ]
            each = tiles.rows // queries
            for block, first in enumerate(range(0, group, each)):
                visits = _split_counts(heads[first : first + each])
                counts[line, kv_head, block] = torch.tensor(visits)
    return counts


def _norms_in_tensor(tokens: Tensor, first: int, length: int) -> Tensor:
    """Return the norm of each block of a sequence: the larger of the two blocks that it lies in."""
    norms = torch.stack([part.norm(dim=1).max() for part in tokens.split(BLOCK)])
    block = first // BLOCK + torch.arange(-(-length // BLOCK))
    return norms[block].maximum(norms[(block + 1).clamp(max=len(norms) - 1)])


def _split_counts(heads: list["Block"]) -> tuple[int, int]:
    counted = done = max(head.tiles_before(0, 0) for head in heads)
    while (need := max(head.tiles_before(done, 0) for head in heads)) > done:
        done = need
    return counted, done - counted


class Block:
    """A block of queries of one head, and the keys and values of that head."""

    def __init__(
        self, q: Tensor, k: Tensor, v: Tensor, slope: float, first: int, share: float,
        tiles: Tiles, *, causal: bool, near: int = 1, norms: list[Tensor] | None = None,
    ) -> None:  # fmt: skip
        q_len, self.keys = q.shape[0], k.shape[0]
        self.slope, self.share, self.tiles, self.causal = slope, share, tiles, causal
        rows = torch.arange(first, min(first + tiles.rows, q_len))
        self.positions = rows + self.keys - q_len
        distance = torch.arange(self.keys) - self.positions[:, None]
        scores = q.shape[1] ** -0.5 * q[rows] @ k.T - slope * distance.abs()
        self.scores = scores.masked_fill((distance > 0) & causal, -math.inf)
        self.v = v
        self.longest = q.shape[1] ** -0.5 * q[rows].norm(dim=1).max()
        self.key_norms, self.value_norms = norms or (
            torch.stack([part.norm(dim=1).max() for part in one.split(BLOCK)]) for one in (k, v)
        )
        begin, last = int(self.positions[0]), int(self.positions[-1])
        self.own = max(min(begin, self.keys - 1) - (near - 1), 0) // tiles.keys * tiles.keys
        self.after = self.own + -(-(min(last + 1, self.keys) - self.own) // tiles.keys) * tiles.keys

    def counts(self) -> tuple[int, int]:
        """Return the tiles that are visited before the own ones, and after them."""
        done, most = (0, 0), max(AT_FIRST // self.tiles.keys, 1)
        while True:
            before = min(self.tiles_before(*done), most)
            done_before = max(done[0], before)
            after = 0 if self.causal else min(self._tiles_after(*done), most)
            now = done_before, max(done[1], after)
            if now == done:
                return done
            done, most = now, self.keys

    def _log_sums(self, before: int, after: int) -> tuple[Tensor, Tensor]:
        """Return the logs of what each row has summed: its weights, and its output's norm."""
        end = min(self.after + after * self.tiles.keys, self.keys)
        seen = slice(self.own - before * self.tiles.keys, end)
        weights = self.scores[:, seen].logsumexp(dim=1)
        shares = (self.scores[:, seen] - weights[:, None]).exp()
        return weights, weights + (shares @ self.v[seen]).norm(dim=1).log()

    def droppable(
        self, blocks: Tensor, distances: Tensor, offsets: Tensor, before: int, after: int
    ) -> int:
        """Return how many of the blocks can be left out, the farthest of which come first."""
        weights = self.most_weights(blocks) - self.slope * distances
        outputs = weights + self.value_norms[blocks].log()
        weight, output = self._log_sums(before, after)
        fits = [
            most.logcumsumexp(dim=0) <= math.log(self.share) + (summed + offsets).min()
            for most, summed in ((weights, weight), (outputs, output))
        ]
        return int((fits[0] & fits[1]).sum())

    def most_weights(self, blocks: Tensor) -> Tensor:
        """Return the log of what each block weighs at most for a row beside it."""
        summed = math.log(sum(math.exp(-self.slope * step) for step in range(BLOCK)))
        return self.most_products(blocks) + summed

    def most_products(self, blocks: Tensor) -> Tensor:
        """Return what the scaled product of any row with any key of each block is at most."""
        most: Tensor = self.longest * self.key_norms[blocks]
        return most

    def tiles_before(self, before: int, after: int) -> int:
        blocks = torch.arange(self.own // BLOCK)
        distances = self.positions[0] - (blocks + 1) * BLOCK + 1
        offsets = self.slope * (self.positions - self.positions[0])
        dropped = self.droppable(blocks, distances, offsets, before, after)
        return self.own // self.tiles.keys - dropped * BLOCK // self.tiles.keys

    def _tiles_after(self, before: int, after: int) -> int:
        end = -(-self.keys // BLOCK)
        blocks = torch.arange(-(-self.after // BLOCK), end).flip(0)
        distances = blocks * BLOCK - self.positions[-1]
        offsets = self.slope * (self.positions[-1] - self.positions)
        dropped = self.droppable(blocks, distances, offsets, before, after)
        last = min((end - dropped) * BLOCK, self.keys)
        return -(-max(last - self.after, 0) // self.tiles.keys)
