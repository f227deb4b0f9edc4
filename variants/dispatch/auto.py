"""auto: the variant that was fastest for the shape on this device when that was measured.

For: calling whichever variant was measured to be fastest.
Not for: data or slopes unlike those measured: name a variant.

A selection says which variant that is (variants.selection.schema): one that the user made with
`choose`, or one that comes with the project. auto calls that variant, and stores and moves what the
variant does. Where the variant declines, the next one in the selection's order takes its place.
Where this device was never measured, auto tries a fixed order (variants.selection.pick) and logs
that once. A variant whose speed depends on the data was measured on standard normal numbers, and
may be the wrong choice for others. Source: none; this is a choice and no kernel.
"""

import importlib

from torch import Tensor

from variants.catalog import BY_NAME
from variants.dispatch.auto_order import order
from variants.problem import Attention, Spec, Unsupported


def prepare(spec: Spec) -> Attention:
    """Return the attention of the first variant, in the order to try, that takes this spec."""
    return _first(spec, order(spec))[1]


def choice(spec: Spec) -> str:
    """Return the name of the variant whose attention `prepare` returns."""
    return _first(spec, order(spec))[0]


def _first(spec: Spec, names: tuple[str, ...]) -> tuple[str, Attention]:
    refusals = []
    for place, name in enumerate(names, start=1):
        entry = BY_NAME[name]
        try:
            attention = importlib.import_module(entry.module).prepare(spec, **entry.options)
        except Unsupported as refusal:
            refusals.append(f"{name}: {refusal}")
        else:
            return name, _or_next(attention, spec, names[place:])
    raise Unsupported("; ".join(refusals))


def _or_next(attention: Attention, spec: Spec, next_names: tuple[str, ...]) -> Attention:
    """Return `attention` with a fallback: a call that it declines goes to the next variant."""
    fallback: Attention | None = None

    def attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        nonlocal fallback
        try:
            return attention(q, k, v, slopes)
        except Unsupported:
            if not next_names:
                raise
        fallback = fallback or _first(spec, next_names)[1]
        return fallback(q, k, v, slopes)

    return attend
