"""auto: the variant that was fastest for the shape on this device when that was measured.

For: calling whichever variant was measured to be fastest.
Not for: data or slopes unlike those measured: name a variant.

A selection says which variant that is (variants.selection.schema): one that the user made with
`choose`, or one that comes with the project. auto calls that variant, and stores and moves what the
variant does. Where the variant declines, the next one in the selection's order takes its place, and
the logger `alibi_bench` says so once, with the reason. Where this device was never measured, auto
tries a fixed order (variants.selection.pick) and logs that once. A variant whose speed depends on
the data was measured on standard normal numbers, and may be the wrong choice for others. Source:
none; this is a choice and no kernel.
"""

import importlib
import logging
from threading import Lock
from typing import NamedTuple

from torch import Tensor

from variants.catalog import BY_NAME
from variants.dispatch.auto_order import order
from variants.problem import Attention, Spec, Unsupported

SUBSTITUTES_AT_MOST = 128

_LOCK = Lock()
_LOG = logging.getLogger("alibi_bench")
_substitutes: dict[Spec, str] = {}
"""The variant that took the last call for a spec, where it was not the first that prepares."""
_logged: set[tuple[str, str]] = set()


class _Prepared(NamedTuple):
    name: str
    attention: Attention
    next_names: tuple[str, ...]


def prepare(spec: Spec) -> Attention:
    """Return the attention of the first variant, in the order to try, that takes this spec.

    A call that it declines goes to the next variant that takes the spec.
    """
    prepared = [_first(spec, order(spec))]
    took_last = prepared[0].name
    _note_substitute(spec, None)

    def attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        nonlocal took_last
        for place in range(len(BY_NAME)):
            if place == len(prepared):
                prepared.append(_first(spec, prepared[-1].next_names))
            name, attention, next_names = prepared[place]
            try:
                out = attention(q, k, v, slopes)
            except Unsupported as refusal:
                if not next_names:
                    raise
                _log_once(name, str(refusal))
                continue
            if name != took_last:
                took_last = name
                _note_substitute(spec, name if place else None)
            return out
        raise AssertionError("an order names each variant once")

    return attend


def choice(spec: Spec) -> str:
    """Return the name of the variant that `auto` uses for a spec.

    It is the variant that took the last call. Before the first call it is the first variant that
    prepares, which may still decline the tensors.
    """
    return _substitutes.get(spec) or _first(spec, order(spec)).name


def _first(spec: Spec, names: tuple[str, ...]) -> _Prepared:
    refusals = []
    for place, name in enumerate(names, start=1):
        entry = BY_NAME[name]
        module = importlib.import_module(entry.module)
        try:
            attention = module.prepare(spec, **entry.options)
            if hasattr(module, "build"):
                module.build()
        except Unsupported as refusal:
            refusals.append((name, str(refusal)))
        else:
            for name_and_reason in refusals:
                _log_once(*name_and_reason)
            return _Prepared(name, attention, names[place:])
    raise Unsupported("; ".join(f"{name}: {reason}" for name, reason in refusals))


def _note_substitute(spec: Spec, name: str | None) -> None:
    with _LOCK:
        _substitutes.pop(spec, None)
        if name is not None:
            _substitutes[spec] = name
        while len(_substitutes) > SUBSTITUTES_AT_MOST:
            del _substitutes[next(iter(_substitutes))]


def _log_once(name: str, reason: str) -> None:
    with _LOCK:
        if (name, reason) in _logged:
            return
        _logged.add((name, reason))
    _LOG.warning("auto passes %s over, which declines: %s", name, reason)
