"""auto: the variant that was fastest for the shape on this device when that was measured.

A selection says which (variants.selection.schema): the user's own, which `choose` writes, or one
that comes with the project. Its callable does the work, with what that stores and moves; where it
declines, the next in the selection's order takes its place. With no measurement of this device a
fixed order is tried (variants.selection.pick), and that is said once. What depends on data was
chosen on standard normal numbers. Source: none; this is a choice and no kernel.
"""

import importlib

from torch import Tensor

from variants.catalog import BY_NAME
from variants.dispatch.auto_order import order
from variants.problem import Attention, Spec, Unsupported


def prepare(spec: Spec) -> Attention:
    """Return the attention of the first variant that can do this, in the order advised."""
    return _first(spec, order(spec))[1]


def choice(spec: Spec) -> str:
    """Return the name of the variant whose attention prepare returns."""
    return _first(spec, order(spec))[0]


def _first(spec: Spec, names: tuple[str, ...]) -> tuple[str, Attention]:
    refusals = []
    for place, name in enumerate(names, start=1):
        line = BY_NAME[name]
        try:
            attention = importlib.import_module(line.module).prepare(spec, **line.options)
        except Unsupported as refusal:
            refusals.append(f"{name}: {refusal}")
        else:
            return name, _or_next(attention, spec, names[place:])
    raise Unsupported("; ".join(refusals))


def _or_next(attention: Attention, spec: Spec, others: tuple[str, ...]) -> Attention:
    """Return attention that hands a call to the next where it is declined after all."""
    following: Attention | None = None

    def attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        nonlocal following
        try:
            return attention(q, k, v, slopes)
        except Unsupported:
            if not others:
                raise
        following = following or _first(spec, others)[1]
        return following(q, k, v, slopes)

    return attend
