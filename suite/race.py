"""The race: all variants of one case, prepared and checked, then timed in turns in random order."""

from collections.abc import Iterator, Sequence
from random import Random

from suite.clock import SLICE_NS
from suite.contender import Contender, enter, leave, take_turn
from suite.handle import Handle
from suite.record import CellRecord
from suite.setting import Setting
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
