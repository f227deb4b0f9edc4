"""The formula of ALiBi attention for batches of any form, written out in plain torch."""

import math

import torch
from torch import Tensor

from variants.batches.places import Pairs, clear_padding, pairs_of, places_of
from variants.batches.sequences import Sequences
from variants.problem import Spec
from variants.reference import for_each_head


def attend(
    spec: Spec, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
) -> tuple[Tensor, Tensor]:
    """Return the output and the log-sum-exp (variants.batches.sequences.GeneralAttention).

    Scores, bias and softmax are float32 at least. Both results have gradients, and gradients of
    gradients.
    """
    places = places_of(spec, sequences)
    q = clear_padding(q, places.q_sequence)
    k, v = (clear_padding(tokens, places.k_sequence) for tokens in (k, v))
    k, v = for_each_head(q, k), for_each_head(q, v)
    wide = torch.promote_types(q.dtype, torch.float32)
    pairs = pairs_of(spec, places)
    products = q.to(wide) @ k.to(wide).transpose(2, 3) * spec.scale
    scores = hide(pairs, products + bias(slopes.to(wide), pairs.distance))
    weights = torch.softmax(scores, dim=-1)
    if spec.extras.dropout_p:
        weights = torch.dropout(weights, spec.extras.dropout_p, train=True)
    out = (weights.to(v.dtype) @ v).masked_fill(sees_none(pairs), 0.0)
    if not spec.extras.return_lse:
        return out, q.new_empty(0, dtype=torch.float32)
    log_sum_exp = torch.logsumexp(scores, dim=-1, keepdim=True)
    return out, log_sum_exp.masked_fill(sees_none(pairs), -math.inf).squeeze(-1).float()


def bias(slopes: Tensor, distance: Tensor) -> Tensor:
    """Return minus slope times distance, [batch or 1, heads, q_len, kv_len].

    slopes are [heads] or [batch, heads], distance is [batch or 1, q_len, kv_len].
    """
    return slopes.reshape(-1, slopes.shape[-1], 1, 1) * -distance[:, None]


def hide(pairs: Pairs, scores: Tensor) -> Tensor:
    """Return scores with -inf for hidden keys; a row that sees no key is all 0.

    A row of -inf alone would give NaN, and so would its gradient.
    """
    scores = scores.masked_fill(~pairs.visible[:, None], -math.inf)
    return scores.masked_fill(sees_none(pairs), 0.0)


def sees_none(pairs: Pairs) -> Tensor:
    """Return which queries see no key: bool [batch or 1, 1, q_len, 1]."""
    return ~pairs.visible.any(dim=-1)[:, None, :, None]
