"""Conventions told from outputs: sign, slopes, scale, bidirectional form, alignment, and what else.

Each question returns an answer in words, and lets Unsupported and other exceptions pass.
"""

import torch
from torch import Tensor

from suite.agreement.inputs import PrepareFunction
from suite.atlas.findings import NO_NUMBER, SlopeRule
from suite.atlas.implementation import (
    HEAD_DIM,
    gradient_error,
    log_weights,
    padded_error,
    relative_error,
    spec_of,
)
from variants.problem import Unsupported, alibi_slopes
from variants.providers.slope_rules import literal_slopes

HEAD_COUNTS = (8, 12, 17, 40, 112)
TOLERANCE = 1e-2
"""Slopes that differ by less are the same; the rules differ by far more."""
RIGHT = 1e-3
_ROOT = HEAD_DIM**0.5
_FORMS = {
    1: "{}",
    1 / _ROOT: "{} / sqrt(head_dim)",
    2: "twice {}",
    2 / _ROOT: "twice {} / sqrt(head_dim)",
}
"""Multiples of a rule's slopes, and how they are called."""
_USUAL = alibi_slopes(8)
_ODD = alibi_slopes(8, bias_max=16.0)
_DEEPEST = -60.0  # smaller weights have few digits in float32


def slopes_of(prepare: PrepareFunction, slopes: Tensor, *, scale: float = HEAD_DIM**-0.5) -> Tensor:
    """Return the slope of each head as its weights show it; positive where nearer keys weigh more.

    `slopes` are those handed over; the result is [heads] float64. Who takes no whole prefill is
    asked with a chunk.
    """
    wanted = {"heads": len(slopes), "scale": scale}
    try:
        logs = log_weights(prepare, spec_of(**wanted), slopes)
    except Unsupported:
        logs = log_weights(prepare, spec_of(q_len=16, **wanted), slopes)
    distance = -_distance(logs).expand_as(logs)
    bias = _over_own_key(logs)
    counts = (distance > 0) & (bias > _DEEPEST)
    bias, distance = bias.masked_fill(~counts, 0), distance * counts
    return -(bias * distance).sum((1, 2)) / (distance * distance).sum((1, 2))


def sign(prepare: PrepareFunction) -> str:
    """Say which keys weigh more."""
    slopes = slopes_of(prepare, _USUAL)
    if not slopes.isfinite().all():
        return NO_NUMBER
    if (slopes > 0).all():
        return "nearer weigh more"
    if (slopes < 0).all():
        return "farther weigh more"
    return "no bias" if (slopes == 0).all() else "nearer weigh more in some heads alone"


def use_of_slopes(prepare: PrepareFunction) -> str:
    """Say whose slopes are used when a caller hands over those of a bias_max of 16."""
    found = slopes_of(prepare, _ODD).abs()
    for words, slopes in (("the caller's", _ODD), ("its own", _USUAL)):
        for factor, form in _FORMS.items():
            if _is_alike(found, factor * slopes):
                return form.format(words)
    return f"others, from {found[0]:.3g} to {found[-1]:.3g}"


def place_of_scale(prepare: PrepareFunction) -> str:
    """Say whether the bias is scaled as the scores are."""
    once, twice = (slopes_of(prepare, _USUAL, scale=scale) for scale in (0.125, 0.25))
    if _is_alike(once, twice):
        return "after the scale"
    return "scaled with the scores" if _is_alike(2 * once, twice) else "scaled otherwise"


def bidirectional_form(prepare: PrepareFunction) -> str:
    """Say how the bias of keys after a query looks without a causal mask."""
    logs = log_weights(prepare, spec_of(causal=False), _USUAL)
    if logs[:, 0, 1:].isinf().all():
        return "hides the future"
    bias = _over_own_key(logs)
    distance, slope = _distance(logs), -bias[:, -1, -2][:, None, None]
    for words, form in (("unsigned", -slope * distance.abs()), ("signed", slope * distance)):
        counts = (form > _DEEPEST) & (bias > _DEEPEST)
        if counts.any() and (bias - form)[counts].abs().max() < TOLERANCE * (1 + slope.abs().max()):
            return words
    return "another form"


def alignment(prepare: PrepareFunction) -> str:
    """Say which keys the first of 16 queries sees of 48."""
    logs = log_weights(prepare, spec_of(q_len=16), _USUAL)
    seen = int(logs[-1, 0].isfinite().sum())
    return {33: "bottom-right", 1: "top-left"}.get(seen, f"row 0 sees {seen} of 48")


def grouped_heads(prepare: PrepareFunction) -> str:
    """Say whether 8 heads that share 2 kv heads are right."""
    try:
        error = relative_error(prepare, spec_of(kv_heads=2), _USUAL)
    except Unsupported:
        error = relative_error(prepare, spec_of(kv_heads=2, q_len=16), _USUAL)
    return _verdict(error)


def padding(variant: str) -> str:
    """Say whether real rows are right beside padding that holds NaN."""
    return _verdict(padded_error(variant, _USUAL))


def gradients(prepare: PrepareFunction) -> str:
    """Say whether the gradients of q, k and v are right."""
    return _verdict(gradient_error(prepare, _USUAL, of_slopes=False))


def slope_gradients(prepare: PrepareFunction) -> str:
    """Say whether the gradients of the slopes are right."""
    return _verdict(gradient_error(prepare, _USUAL, of_slopes=True))


def slope_rule(prepare: PrepareFunction, heads: int) -> SlopeRule:
    """Return the slopes used for a head count, when the caller hands over the usual ones."""
    usual, found = alibi_slopes(heads), slopes_of(prepare, alibi_slopes(heads)).abs()
    if not found.isfinite().all():
        return SlopeRule(heads, NO_NUMBER, None, None)
    is_power_of_two = heads & (heads - 1) == 0
    rule = "another"
    for words, slopes in (("the paper's code", usual), ("the literal rule", literal_slopes(heads))):
        for factor, form in _FORMS.items():
            if rule == "another" and _is_alike(found, factor * slopes):
                rule = form.format("both rules" if is_power_of_two else words)
    return SlopeRule(heads, rule, float(found[0]), float(found[-1]))


def _distance(logs: Tensor) -> Tensor:
    """Return key - row for weights [heads, rows, keys]: [rows, keys] float64."""
    keys = torch.arange(logs.shape[-1], dtype=torch.float64)
    return keys - keys[-logs.shape[-2] :, None]


def _over_own_key(logs: Tensor) -> Tensor:
    """Return logarithms of weights over that of the key at the row's own position."""
    before = logs.shape[-1] - logs.shape[-2]
    return logs - logs.diagonal(before, dim1=1, dim2=2)[:, :, None]


def _is_alike(found: Tensor, slopes: Tensor) -> bool:
    return torch.allclose(found.double(), slopes.double(), rtol=TOLERANCE, atol=0)


def _verdict(error: float) -> str:
    return "right" if error < RIGHT else f"wrong by {error:.1g}"
