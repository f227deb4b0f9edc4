"""auto: the variant that was fastest for the shape on this device when that was measured.

For: calling whichever variant was measured to be fastest.
Not for: data or slopes unlike those measured: name a variant.

A selection says which variant that is (variants.selection.schema): one that the user made with
`choose`, or one that comes with the project. auto calls that variant, and stores and moves what the
variant does. Where the variant declines, the next one in the selection's order takes its place, and
the logger `alibi_bench` says so once, with the reason. Where this device was never measured, auto
tries a fixed order (variants.selection.pick) and logs that once. A variant whose speed depends on
the data was measured on standard normal numbers, and may be the wrong choice for others.
Source: none; this is a choice and no kernel.
"""

import importlib
from collections.abc import Callable
from typing import Any

from variants.batches.sequences import GeneralAttention
from variants.catalog import BY_NAME
from variants.dispatch import substitutes
from variants.dispatch.answer import check_derivative, prepare_for
from variants.dispatch.auto_order import order
from variants.problem import Attention, Spec, Unsupported
from variants.tracing import is_traced

READS_NORMS = True
READS_PAGES = True

_Preparation = tuple[str, Callable[..., Any], tuple[str, ...]]
"""A variant's name, its attention, and the names to try after it."""


def prepare(spec: Spec) -> Attention:
    """Return the attention of the first variant, in the order to try, that takes this spec.

    A call that it declines goes to the next variant that takes the spec.
    """
    return _in_turn(spec)


def prepare_general(spec: Spec) -> GeneralAttention:
    """Return the same for batches of any form."""
    return _in_turn(spec)


def _in_turn(spec: Spec) -> Callable[..., Any]:
    prepared = {0: _first(spec, order(spec))}
    last_name = prepared[0][0]
    notes = not is_traced()  # who takes a call in a trace is no answer about plain calls
    if notes:
        substitutes.note(spec, None)

    def attend(*arguments: Any) -> Any:
        nonlocal last_name
        for place in range(len(BY_NAME)):
            if place not in prepared:
                prepared.setdefault(place, _first(spec, prepared[place - 1][2]))  # as may a thread
            name, attention, next_names = prepared[place]
            try:
                check_derivative(name, *arguments[:4])
                out = attention(*arguments)
            except Unsupported as refusal:
                if not next_names:
                    raise
                substitutes.log_once(name, str(refusal))
                continue
            if notes and name != last_name:
                last_name = name
                substitutes.note(spec, name)
            return out
        raise AssertionError("an order names each variant once")

    return attend


def choice(spec: Spec) -> str:
    """Return the name of the variant that `auto` uses for a spec.

    It is the variant that took the last call outside of traces and transforms. Before the first
    call it is the first variant that prepares, which may still decline the tensors.
    """
    return substitutes.last_variant(spec) or _first(spec, order(spec))[0]


def _first(spec: Spec, names: tuple[str, ...]) -> _Preparation:
    refusals = []
    for place, name in enumerate(names, start=1):
        module = importlib.import_module(BY_NAME[name].module)
        try:
            attention = prepare_for(BY_NAME[name], spec)
            if hasattr(module, "build"):
                module.build()
        except Unsupported as refusal:
            refusals.append((name, str(refusal)))
        else:
            for name_and_reason in refusals:
                substitutes.log_once(*name_and_reason)
            return name, attention, names[place:]
    raise Unsupported("; ".join(f"{name}: {reason}" for name, reason in refusals))
