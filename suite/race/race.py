"""The race: all variants of one case, prepared and checked, then timed in turns in random order."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

from suite.clocks.cpu_clock import SLICE_NS
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.pool import LanePool
from suite.lanes.protocol import Foresee, Foreseen
from suite.race.contender import Contender, enter, leave, take_turn
from suite.race.setting import Setting, fault_record
from suite.records.record import CellRecord, Fault
from variants.catalog import BASELINE

REJOIN_EVERY = 4


def race(setting: Setting, lanes: Sequence[Handle], random: Random) -> Iterator[list[CellRecord]]:
    """Race `lanes` over one case and yield records as cells come to their end.

    A lane that fails costs its own cell alone: its records come at once, the others race on.
    """
    contenders: list[Contender] = []
    for lane in random.sample(lanes, len(lanes)):
        entered = enter(setting, lane)
        if isinstance(entered, Contender):
            contenders.append(entered)
        else:
            yield [entered]
    for fault in _take_turns(setting, contenders, random):
        yield [fault]
    for contender in contenders:
        yield leave(setting, contender)


def _take_turns(
    setting: Setting, contenders: list[Contender], random: Random
) -> Iterator[CellRecord]:
    """Visit contenders in rounds until all have samples enough; yield and remove what fails."""
    number = 0
    while any(contender.stopped_by is None for contender in contenders):
        number += 1
        for contender in random.sample(contenders, len(contenders)):
            if not _joins(contender, number):
                continue
            fault = take_turn(setting, contender, number)
            if fault is not None:
                contenders.remove(contender)
                yield fault


def _joins(contender: Contender, number: int) -> bool:
    """Whether a contender takes a turn in this round.

    With samples enough it goes on only to give the others a pair: the baseline in every round,
    the rest in every fourth, and slow ones not at all, whose turns would take most of the race.
    """
    if contender.stopped_by is None or contender.name == BASELINE.name:
        return True
    last_turn_ns = sum(contender.turns[-1][1])
    return number % REJOIN_EVERY == 0 and last_turn_ns < 2 * SLICE_NS


USABLE_SHARE = 0.9


def heats(
    setting: Setting, pool: LanePool, names: Sequence[str], random: Random
) -> Iterator[list[CellRecord]]:
    """Race variants over one case, as many side by side as fit; yield records as cells end.

    A variant that runs out of memory beside others races once more with the baseline alone, and
    only then is that its fate. Raises LaneFault when a lane can't start.
    """
    needs: dict[str, Foreseen] = {}
    for lane in pool.ready(names):
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
        for records in race(own, pool.ready(group), random):
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
