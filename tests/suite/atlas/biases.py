"""Implementations with a convention of their own, for the atlas to tell."""

from collections.abc import Callable

import torch
from torch import Tensor

from suite.agreement.inputs import PrepareFunction
from variants.problem import Attention, Spec, alibi_slopes
from variants.providers.slope_rules import literal_slopes
from variants.reference import for_each_head

BiasFunction = Callable[[Spec, Tensor, Tensor], Tensor]
"""(spec, slopes [heads, 1, 1], key - row [q_len, kv_len]) -> bias [heads, q_len, kv_len]."""


def right(spec: Spec, slopes: Tensor, distance: Tensor) -> Tensor:
    """ALiBi as it is defined."""
    return -slopes * distance.abs()


def signed_distance(spec: Spec, slopes: Tensor, distance: Tensor) -> Tensor:
    """Rewards keys after the query."""
    return slopes * distance


def wrong_sign(spec: Spec, slopes: Tensor, distance: Tensor) -> Tensor:
    """Has the wrong sign."""
    return slopes * distance.abs()


def no_bias(spec: Spec, slopes: Tensor, distance: Tensor) -> Tensor:
    """Has no bias."""
    return 0 * right(spec, slopes, distance)


def twice(spec: Spec, slopes: Tensor, distance: Tensor) -> Tensor:
    """Adds the bias once in the mask and once in the kernel."""
    return 2 * right(spec, slopes, distance)


def scale_with_scores(spec: Spec, slopes: Tensor, distance: Tensor) -> Tensor:
    """Scales the bias with the scores."""
    return spec.scale * right(spec, slopes, distance)


def without_bias_max(spec: Spec, slopes: Tensor, distance: Tensor) -> Tensor:
    """Makes the slopes of a bias_max of 8, whatever it is."""
    return right(spec, alibi_slopes(spec.heads)[:, None, None], distance)


def literal(spec: Spec, slopes: Tensor, distance: Tensor) -> Tensor:
    """Makes slopes by the literal rule."""
    return right(spec, literal_slopes(spec.heads)[:, None, None], distance)


def float16_distances(spec: Spec, slopes: Tensor, distance: Tensor) -> Tensor:
    """Keeps distances in float16, which is exact to 2048."""
    return right(spec, slopes, distance.half().float())


def anchor_at_the_first_key(spec: Spec, slopes: Tensor, distance: Tensor) -> Tensor:
    """Adds slope * key in the dtype of the inputs."""
    return (slopes * torch.arange(spec.kv_len)).to(spec.dtype).float()


def implementation(bias: BiasFunction, *, top_left: bool = False) -> PrepareFunction:
    """Return the formula with a bias of its own, or with queries aligned top-left."""

    def prepare(spec: Spec) -> Attention:
        first = 0 if top_left else spec.kv_len - spec.q_len
        rows = torch.arange(first, first + spec.q_len)[:, None]
        distance = (torch.arange(spec.kv_len) - rows).float()

        def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
            keys, values = for_each_head(q, k).float(), for_each_head(q, v)
            scores = q.float() @ keys.transpose(-1, -2) * spec.scale
            scores = scores + bias(spec, slopes[:, None, None], distance)
            if spec.causal:
                scores = scores.masked_fill(distance > 0, float("-inf"))
            return scores.softmax(-1).to(values.dtype) @ values

        return attention

    return prepare
