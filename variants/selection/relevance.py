"""What is known of a device: selections sorted by what they are to it, and indexed by family."""

from collections.abc import Iterable
from typing import NamedTuple

from variants.host.hardware import Hardware
from variants.selection.schema import Choice, Selection
from variants.selection.similarity import Family, are_akin, family_of, regime_of


class TargetDevice(NamedTuple):
    """Where the answer is wanted: the device, the versions of what computes, and host threads."""

    hardware: Hardware
    software: dict[str, str]
    threads: int


class IndexedSelection(NamedTuple):
    """A selection, its choices by family, each by rising length, and the families by regime."""

    selection: Selection
    families: dict[Family, list[Choice]]
    regimes: dict[Family, list[list[Choice]]]


class SortedSelections(NamedTuple):
    """What is known of a device: its own selections, those that are stale, and of its kin."""

    here: TargetDevice
    current: list[IndexedSelection]
    stale: list[IndexedSelection]
    akin: list[IndexedSelection]


def sort_selections(here: TargetDevice, selections: Iterable[Selection]) -> SortedSelections:
    """Sort selections by what they are to a device; those that come first are preferred."""
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
    """Return what makes a selection of this device stale, a phrase for each."""
    names = sorted({*selection.software, *here.software})
    pairs = [(n, selection.software.get(n, "none"), here.software.get(n, "none")) for n in names]
    pairs.append(("threads", str(selection.threads), str(here.threads)))
    return [f"{name} {then} and not {now}" for name, then, now in pairs if then != now]


def _index(selection: Selection) -> IndexedSelection:
    families: dict[Family, list[Choice]] = {}
    for choice in sorted(selection.choices, key=lambda one: one.problem.kv_len):
        families.setdefault(family_of(choice.problem), []).append(choice)
    regimes: dict[Family, list[list[Choice]]] = {}
    for family in families.values():
        regimes.setdefault(regime_of(family[0].problem), []).append(family)
    return IndexedSelection(selection, families, regimes)
