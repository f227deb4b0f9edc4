"""A small decoder-only language model, pre-norm, whose attention is told positions by a method."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from suite.quality.design import ModelSize
from suite.quality.methods import PositionMethod, Positions
from suite.quality.positions.attention import attend
from suite.quality.positions.relative_bias import BUCKETS, causal_bias
from suite.quality.positions.sinusoids import sinusoids

INITIAL_STD = 0.02

Projections = tuple[Tensor, Tensor, Tensor]
"""q, k and v of a layer, before any rotation: [batch, heads, length, head_dim] each."""


class Layer(nn.Module):
    """Attention and a feed-forward network of four times the width, each added to the stream."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)
        self.feed_norm = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def feed(self, stream: Tensor) -> Tensor:
        """Return the stream after the feed-forward network."""
        narrow: Tensor = self.down(relu(self.up(self.feed_norm(stream))))
        return stream + narrow


class Decoder(nn.Module):
    """The model: token numbers [batch, length] to hidden states [batch, length, width]."""

    def __init__(self, method: PositionMethod, vocabulary: int, size: ModelSize) -> None:
        super().__init__()
        self.heads, self.head_dim, self.width = method.heads, size.head_dim, size.width
        inner = method.heads * size.head_dim
        self.embedding = nn.Embedding(vocabulary, size.width)
        self.layers = nn.ModuleList(Layer(size.width, inner) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width, bias=False)
        self.head = nn.Linear(size.width, vocabulary, bias=False)
        self.table = (
            nn.Parameter(torch.zeros(BUCKETS, method.heads)) if method.learned_bias else None
        )
        self._draw(size.layers)

    def forward(
        self, tokens: Tensor, positions: Positions, recorded: list[Projections] | None = None
    ) -> Tensor:
        """Return the hidden states; `recorded` gets the projections of each layer."""
        batch, length = tokens.shape
        stream = self.embedding(tokens) * math.sqrt(self.width)
        if positions.sinusoids:
            stream = stream + sinusoids(length, self.width, tokens.device).to(stream.dtype)
        bias = None if self.table is None else causal_bias(self.table, length)
        for layer in self.layers:
            assert isinstance(layer, Layer)
            qkv = layer.qkv(layer.attention_norm(stream))
            q, k, v = qkv.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            if recorded is not None:
                recorded.append((q, k, v))
            out = attend(q, k, v, positions, bias)
            stream = stream + layer.out(out.transpose(1, 2).reshape(batch, length, -1))
            stream = layer.feed(stream)
        hidden: Tensor = self.norm(stream)
        return hidden

    def _draw(self, layers: int) -> None:
        """Draw the weights: those that add to the stream smaller, by the number of layers."""
        for name, weight in self.named_parameters():
            if weight.dim() < 2 or name == "table":
                continue
            adds = name.endswith(("out.weight", "down.weight"))
            std = INITIAL_STD / math.sqrt(2 * layers) if adds else INITIAL_STD
            nn.init.normal_(weight, std=self.width**-0.5 if name == "embedding.weight" else std)
