"""Selections sorted by their relevance to a device: current, stale, or of a like architecture."""

from collections.abc import Iterable
from typing import NamedTuple

from variants.host.hardware import Hardware
from variants.selection.schema import Choice, Selection
from variants.selection.similarity import Family, are_akin, family_of, regime_of


class TargetDevice(NamedTuple):
    """The device that an answer is for, the versions of its software, and its host threads."""

    hardware: Hardware
    software: dict[str, str]
    threads: int


class IndexedSelection(NamedTuple):
    """A selection: its choices by family and rising length, and its families by regime."""

    selection: Selection
    families: dict[Family, list[Choice]]
    regimes: dict[Family, list[list[Choice]]]


class SortedSelections(NamedTuple):
    """The selections of a device, current or stale, and those of akin devices."""

    here: TargetDevice
    current: list[IndexedSelection]
    stale: list[IndexedSelection]
    akin: list[IndexedSelection]


def sort_selections(here: TargetDevice, selections: Iterable[Selection]) -> SortedSelections:
    """Sort selections by their relevance to a device; in each group earlier ones are preferred."""
    current, stale, akin = [], [], []
    for selection in selections:
        if selection.hardware.key != here.hardware.key:
            if are_akin(selection.hardware, here.hardware):
                akin.append(_index(selection))
        elif changes(selection, here):
            stale.append(_index(selection))
        else:
            current.append(_index(selection))
    return SortedSelections(here, current, stale, akin)


def changes(selection: Selection, here: TargetDevice) -> list[str]:
    """Return why a selection of this device is stale: a phrase for each change, or none."""
    names = sorted({*selection.software, *here.software})
    pairs = [(n, selection.software.get(n, "none"), here.software.get(n, "none")) for n in names]
    pairs.append(("threads", str(selection.threads), str(here.threads)))
    return [f"{name} {then} and not {now}" for name, then, now in pairs if then != now]


def _index(selection: Selection) -> IndexedSelection:
    families: dict[Family, list[Choice]] = {}
    for choice in sorted(selection.choices, key=lambda choice: choice.problem.kv_len):
        families.setdefault(family_of(choice.problem), []).append(choice)
    regimes: dict[Family, list[list[Choice]]] = {}
    for family in families.values():
        regimes.setdefault(regime_of(family[0].problem), []).append(family)
    return IndexedSelection(selection, families, regimes)
