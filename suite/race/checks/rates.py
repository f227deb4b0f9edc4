"""Whether the device can do a call's work in its time: at 105% of its fastest product and copy."""

from collections.abc import Mapping
from contextlib import suppress

from suite.cases.case import Case, Dtype
from suite.clocks.series import DeviceRate
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.protocol import DeviceRates, FindLimits
from suite.race.setting import Setting

MOST_OF_RATE = 1.05
MEASURE_AGAIN = 2


def check_rates(setting: Setting, lane: Handle, call_ns: float) -> None:
    """Raise LaneFault if a call takes less time than the device needs for its work.

    The rates are measured again before that: the device may have been slow when the pass began.
    Nothing is checked where nobody knows which pairs a call computes.
    """
    profiled = setting.evidence.profiled.get((setting.case, lane.variant.name))
    if profiled is None or profiled.chose is not None:
        return  # what `auto` picked may leave pairs out; it is checked under its own name
    if profiled.leaves_out and profiled.density is None:
        return
    density = 1.0 if profiled.density is None else profiled.density
    rates = setting.evidence.rates
    for _ in range(MEASURE_AGAIN):
        with suppress(LaneFault):
            check_work(setting.case, call_ns, density, rates)
            return
        answer = lane.ask(FindLimits(tuple(rates)), DeviceRates, setting.step_timeout_s)
        setting.evidence.note_rates(answer.rates)
    check_work(setting.case, call_ns, density, rates)


def check_work(
    case: Case, call_ns: float, density: float, rates: Mapping[Dtype, DeviceRate]
) -> None:
    """Raise LaneFault if a call did over 105% of what the device does in that time.

    `density` is the share of the work that the call does. Half precision is held against float32
    too, because a CPU without instructions for it multiplies in float32.
    """
    of_dtypes = [rates[dtype] for dtype in (case.dtype, "float32") if dtype in rates]
    if not of_dtypes:
        return
    flops_per_s = max(rate.peak_flops_per_s for rate in of_dtypes)
    bytes_per_s = max(rate.peak_bytes_per_s(case.useful_bytes) for rate in of_dtypes)
    for what, work, most in (
        ("matrix product", case.useful_flops, flops_per_s),
        ("copy", case.useful_bytes, bytes_per_s),
    ):
        share = density * work / (call_ns / 1e9) / most if most else 0.0
        if share > MOST_OF_RATE:
            raise LaneFault(
                "implausible",
                "Slice",
                f"{call_ns / 1e6:.3g} ms a call would be {share:.0%} of the rate of this device's "
                f"{what}: it stores results, or does other work than it should",
            )
