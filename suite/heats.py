"""Heats: where a case's variants don't fit in memory side by side, they race in smaller groups.

The baseline is in each, so that ratios to it stay paired.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

from suite.crew import Crew
from suite.handle import LaneFault
from suite.outcome import fault_record
from suite.protocol import Foresee, Foreseen
from suite.race import race
from suite.record import CellRecord, Fault
from suite.setting import Setting
from variants.catalog import BASELINE

USABLE_SHARE = 0.9


def heats(
    setting: Setting, crew: Crew, names: Sequence[str], random: Random
) -> Iterator[list[CellRecord]]:
    """Race variants over one case, as many side by side as fit; yield records as cells end.

    A variant that runs out of memory beside others races once more with the baseline alone, and
    only then is that its fate. Raises LaneFault when a lane can't start.
    """
    needs: dict[str, Foreseen] = {}
    for lane in crew.ready(names):
        try:
            needs[lane.variant.name] = lane.ask(
                Foresee(setting.case), Foreseen, setting.step_timeout_s
            )
        except LaneFault as fault:
            yield [fault_record(setting, lane.variant.name, fault)]
    waiting = side_by_side(needs)
    raced: frozenset[str] = frozenset()
    while waiting:
        group = waiting.pop(0)
        own = replace(setting, race=time.time_ns(), cold=setting.cold - raced)
        crowded: set[str] = set()
        for records in race(own, crew.ready(group), random):
            crowded_out = _out_of_memory(records) if len(group) > 2 else None
            if crowded_out is None:
                yield records
                continue
            crowded.add(crowded_out)
            if crowded_out == BASELINE.name:
                waiting.append([BASELINE.name])
            else:
                waiting.append([name for name in (BASELINE.name, crowded_out) if name in needs])
        raced |= frozenset(group) - crowded


def side_by_side(needs: Mapping[str, Foreseen]) -> list[list[str]]:
    """Return groups of variants whose needs together fit, the baseline in each.

    A need that can't be foreseen is taken to be as large as the largest that can.
    """
    if not needs:
        return []
    room = USABLE_SHARE * min(one.free_bytes for one in needs.values())
    known = [one.needed_bytes for one in needs.values() if one.needed_bytes is not None]
    assumed = max(known, default=0)
    by_name = {
        name: assumed if one.needed_bytes is None else one.needed_bytes
        for name, one in needs.items()
    }
    always = {name: by_name.pop(name) for name in (BASELINE.name,) if name in by_name}
    groups: list[dict[str, int]] = [dict(always)]
    for name, need in by_name.items():
        fitting = next((one for one in groups if sum(one.values()) + need <= room), None)
        if fitting is None:
            groups.append(fitting := dict(always))
        fitting[name] = need
    return [list(group) for group in groups if group and (group != always or len(groups) == 1)]


def _out_of_memory(records: Sequence[CellRecord]) -> str | None:
    """Return the variant whose cell ended for want of memory."""
    for record in records:
        if isinstance(record, Fault) and record.status == "out_of_memory":
            return record.variant
    return None
