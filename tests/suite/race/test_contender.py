"""A contender's turns add up: what its lane counted in each is in the record of its time."""

from typing import Any, cast

import pytest

from suite.clocks.series import Samples, TurnSamples
from suite.conditions.nvml import Absent
from suite.lanes.handle import Handle
from suite.lanes.protocol import CheckResult, KernelNames
from suite.race.contender import Contender, take_turn
from suite.race.setting import Setting, agreement_record
from suite.race.watch import Silence
from tests.fakes.in_process import believe_invented_times
from tests.records import a_case
from variants.catalog import Variant

SETTING = Setting(
    case=a_case(),
    pass_number=1,
    race=0,
    step_timeout_s=60.0,
    cold=frozenset(),
    watch=Silence(),
    gpu=Absent("the run uses no GPU"),
)


class Lane:
    """A lane that answers every slice with the same turn of decode."""

    variant = Variant("flex", "variants.flex.flex")

    def ask(self, *_: Any) -> TurnSamples:
        """Return two samples of 16 steps, each with a graph of its own but the first."""
        turn = [Samples("call", [2_000, 3_000])]
        return TurnSamples(turn, 16, retaken=1, steps=32, recompilations=31)


@pytest.mark.parametrize("error", [4.7e33, float("inf"), float("nan")])
def test_an_error_beyond_any_number_is_recorded_as_none(error: float) -> None:
    result = CheckResult(False, error, 1e-6, "out")
    record = agreement_record(SETTING, "flex", "before", result, rows_seed=3)
    assert (record.error, record.agrees) == (None, False)


def test_steps_and_graphs_of_all_turns_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    believe_invented_times(monkeypatch)
    result = CheckResult(True, 1e-7, 1e-6, "out")
    check = agreement_record(SETTING, "flex", "before", result, rows_seed=3)
    contender = Contender(cast(Handle, Lane()), 0.1, 0.2, check)
    for number in (1, 2, 3):
        assert take_turn(SETTING, contender, number) is None
    time = contender.time_record(SETTING, KernelNames([]))
    assert (time.steps, time.recompilations, time.retaken) == (96, 93, 3)
    assert time.turns == tuple((number, (2_000, 3_000)) for number in (1, 2, 3))
    assert (time.taken, time.calls_per_sample) == (6, 16)
