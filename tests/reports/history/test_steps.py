"""What made a step: the code, the environment or the machine."""

from collections.abc import Callable

import msgspec
import pytest

from reports.history.series import cell_histories
from reports.history.steps import SAME_CODE
from suite.conditions.policy import Policy
from suite.records.record import RunHeader
from tests.records import a_machine
from tests.reports.histories import a_commit, header, header_with, runs_at, steps
from variants.catalog import PEERS
from variants.host.hardware import Cpu, Gpu

BEFORE, AFTER = 10, 6
RUNS = range(BEFORE + AFTER)
SLOWER = [1.0] * BEFORE + [1.05] * AFTER
SMALL_STEP = [1.0] * 25 + [1.025] * 25


def from_run(number: int, change: Callable[[RunHeader], RunHeader]) -> list[RunHeader]:
    """Return headers of which those from run `number` on are changed."""
    return [change(header(run)) if run >= number else header(run) for run in RUNS]


def test_a_step_at_a_commit_is_the_codes_and_names_it() -> None:
    (step,) = steps(runs_at(SLOWER))
    assert (step.cause, step.is_regression, step.place) == ("code", True, BEFORE)
    assert step.first_code == f"commit {a_commit(BEFORE)[:12]}"
    assert step.started == header(BEFORE).started
    low, high = step.change_ci
    assert 0.04 < low < 0.05 < high < 0.06
    assert low < step.change < high


def test_a_faster_step_is_no_regression() -> None:
    (step,) = steps(runs_at(SLOWER[::-1]))
    assert (step.cause, step.is_regression) == ("code", False)
    assert -0.06 < step.change < -0.04


def with_other_policy(own: RunHeader) -> RunHeader:
    return header_with(
        own, policy=Policy(threads=1, malloc={}, omp_wait_policy="default", clock="cpu")
    )


def with_other_torch(own: RunHeader) -> RunHeader:
    return header_with(own, software=own.software | {"torch": "2.14.1"})


def with_other_driver(own: RunHeader) -> RunHeader:
    gpu = {"driver": "590.1"}
    return header_with(own, circumstances=msgspec.structs.replace(own.circumstances, gpu=gpu))


def with_other_governor(own: RunHeader) -> RunHeader:
    slow = msgspec.structs.replace(own.circumstances, governor="powersave")
    return header_with(own, circumstances=slow)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_other_torch, "torch 2.14.1 and not 2.13.0"),
        (with_other_driver, "driver 590.1 and not absent"),
        (with_other_policy, "threads 1 and not 2"),
        (with_other_governor, "governor powersave and not unknown"),
    ],
)
def test_a_step_at_a_change_of_environment_is_not_the_codes(
    change: Callable[[RunHeader], RunHeader], reason: str
) -> None:
    (step,) = steps(runs_at(SLOWER, headers=from_run(BEFORE, change)))
    assert (step.cause, step.reason, step.is_regression) == ("environment", reason, False)


def test_a_lower_power_limit_makes_no_other_series_and_explains_a_step() -> None:
    host = a_machine().hardware
    assert isinstance(host, Cpu)

    def on_gpu(run: int) -> RunHeader:
        watts = 700 if run < BEFORE else 500
        key = f"cuda-invented-{watts}w"
        return header_with(
            header(run), hardware=Gpu(key, "Invented", "9.0", 1, 1, 1, False, watts, host)
        )

    (step,) = steps(runs_at(SLOWER, headers=[on_gpu(run) for run in RUNS]))
    assert (step.hardware_key, step.cause) == ("cuda-invented", "environment")
    assert step.reason == "power limit 500 W and not 700 W"


def test_an_environment_that_moves_nothing_makes_no_step() -> None:
    assert steps(runs_at([1.0] * len(RUNS), headers=from_run(BEFORE, with_other_torch))) == []


def test_a_step_of_the_code_is_found_beside_one_of_the_environment() -> None:
    levels = [1.0] * 5 + [1.2] * 5 + [1.27] * 6
    environmental, coded = steps(runs_at(levels, headers=from_run(5, with_other_torch)))
    assert (environmental.cause, environmental.place) == ("environment", 5)
    assert (coded.cause, coded.place) == ("code", 10)


def test_another_package_matters_to_the_peer_that_needs_it_alone() -> None:
    peer = next(variant for variant in PEERS if variant.package != "torch")

    def newer(own: RunHeader) -> RunHeader:
        return header_with(own, software=own.software | {str(peer.package): "99"})

    whole = from_run(
        0, lambda own: header_with(own, software=own.software | {str(peer.package): "1"})
    )
    headers = [*whole[:BEFORE], *(newer(own) for own in whole[BEFORE:])]
    causes = {
        name: step.cause
        for name in ("eager", peer.name)
        for step in steps(runs_at(SLOWER, headers=headers, variant=name))
    }
    assert causes == {"eager": "code", peer.name: "environment"}


def on_units(*units: str, commit: int | None = None) -> list[RunHeader]:
    """Return headers of runs on these units of one hardware key, each of a commit of its own."""
    return [
        header_with(own, circumstances=msgspec.structs.replace(own.circumstances, unit=unit))
        for own, unit in ((header(run, commit=commit), unit) for run, unit in enumerate(units))
    ]


@pytest.mark.parametrize(
    "units",
    [
        ["1a"] * BEFORE + ["2b"] * AFTER,
        ["1a", "3c"] * (BEFORE // 2) + ["2b"] * AFTER,
        [f"{run}" for run in range(BEFORE)] + ["2b"] * AFTER,
    ],
    ids=["one after another", "two before", "another each time, then one"],
)
def test_a_step_at_another_unit_of_the_hardware_is_the_machines(units: list[str]) -> None:
    (step,) = steps(runs_at(SLOWER, headers=on_units(*units)))
    assert (step.cause, step.is_regression) == ("machine", False)
    assert "2b" in step.reason
    assert step.reason.startswith("another unit of this hardware: ")


def test_a_small_step_near_a_change_of_unit_may_be_the_units() -> None:
    for first in (24, 25, 26):
        units = ["1a"] * first + ["2b"] * (50 - first)
        (step,) = steps(runs_at(SMALL_STEP, headers=on_units(*units), spread=0.012))
        assert (step.cause, step.reason) == (
            "machine",
            "another unit of this hardware: 2b and not 1a",
        )


@pytest.mark.parametrize(
    "units",
    [
        [f"{run}" for run in RUNS],
        ["1a", "2b"] * (len(RUNS) // 2),
        ["1a"] * (BEFORE + 3) + ["2b"] * (AFTER - 3),
        ["2b"] * 3 + ["1a"] * (BEFORE + AFTER - 3),
        [""] * BEFORE + ["2b"] * AFTER,
    ],
    ids=["another each time", "in turns", "another later", "another before", "not recorded"],
)
def test_a_step_that_units_do_not_explain_is_the_codes(units: list[str]) -> None:
    (step,) = steps(runs_at(SLOWER, headers=on_units(*units)))
    assert (step.cause, step.is_regression, step.reason) == ("code", True, "")


def test_units_of_different_speeds_that_take_turns_unevenly_are_no_step_of_the_code() -> None:
    units = [*["1a", "1a", "1a", "2b"] * 10, *["2b", "2b", "2b", "1a"] * 10]
    levels = [1.1 if unit == "2b" else 1.0 for unit in units]
    found = steps(runs_at(levels, headers=on_units(*units)))
    assert {(step.cause, step.reason) for step in found} == {
        ("machine", "another unit of this hardware: 2b and not 1a")
    }


@pytest.mark.parametrize(
    ("shared", "cause"), [([1.005, 1.03, 1.03], "machine"), ([1.029, 1.03, 1.03], "code")]
)
def test_units_with_runs_on_both_sides_tell_the_code_from_another_unit_if_they_agree(
    shared: list[float], cause: str
) -> None:
    levels = [*[1.0] * BEFORE, 1.0, 1.0, 1.0, *[1.03] * BEFORE, *shared]
    units = [*["1a"] * BEFORE, "3c", "4d", "5e", *["2b"] * BEFORE, "3c", "4d", "5e"]
    (step,) = steps(runs_at(levels, headers=on_units(*units), spread=0.0003))
    assert step.cause == cause


def test_another_unit_is_told_beside_the_environment_and_the_same_code() -> None:
    units = ["1a"] * BEFORE + ["2b"] * AFTER
    (same,) = steps(runs_at(SLOWER, headers=on_units(*units, commit=0)))
    assert (same.cause, same.reason) == (
        "machine",
        f"{SAME_CODE}; another unit of this hardware: 2b and not 1a",
    )
    newer = [with_other_torch(own) for own in on_units(*units)[BEFORE:]]
    (step,) = steps(runs_at(SLOWER, headers=[*on_units(*units)[:BEFORE], *newer]))
    assert step.cause == "environment"
    assert step.reason == (
        "torch 2.14.1 and not 2.13.0; another unit of this hardware: 2b and not 1a"
    )


def test_a_step_within_one_commit_is_the_machines() -> None:
    headers = [header(run, commit=0) for run in RUNS]
    (step,) = steps(runs_at(SLOWER, headers=headers))
    assert (step.cause, step.reason) == ("machine", SAME_CODE)


def test_a_small_step_is_the_codes_if_a_commit_came_near_it() -> None:
    for first in (24, 25, 26):
        headers = [header(run, commit=int(run >= first)) for run in range(50)]
        (step,) = steps(runs_at(SMALL_STEP, headers=headers, spread=0.012))
        assert (step.cause, step.first_code) == ("code", f"commit {a_commit(1)[:12]}")


def test_a_step_that_may_be_of_several_commits_names_them() -> None:
    (large,) = steps(runs_at(SLOWER))
    (small,) = steps(runs_at(SMALL_STEP, spread=0.012))
    assert large.codes == (large.first_code,)
    assert {small.first_code, f"commit {a_commit(25)[:12]}"} <= set(small.codes)
    assert len(small.codes) > 1
    assert small.codes == tuple(sorted(small.codes))


def test_a_step_that_the_canary_shares_is_the_machines() -> None:
    canaries = [7.0 * level for level in SLOWER]
    (step,) = steps(runs_at(SLOWER, canaries=canaries))
    assert (step.cause, step.is_regression) == ("machine", False)
    assert step.reason.startswith("the canary moved by +5.")


def test_of_a_step_beyond_the_canarys_the_rest_is_the_codes() -> None:
    canaries = [7.0] * BEFORE + [7.0 * 1.05] * AFTER
    (step,) = steps(runs_at([1.0] * BEFORE + [1.05 * 1.10] * AFTER, canaries=canaries))
    assert step.is_regression
    assert step.change == pytest.approx(0.10, abs=0.01)
    assert step.change_ci[0] < step.change < step.change_ci[1]
    assert "taken off" in step.reason


def test_a_rest_that_nobody_acts_on_is_the_machines_however_certain() -> None:
    canaries = [7.0] * 20 + [7.0 * 1.05] * 20
    levels = [1.0] * 20 + [1.05 * 1.008] * 20
    (step,) = steps(runs_at(levels, canaries=canaries))
    assert step.cause == "machine"


@pytest.mark.parametrize("canary", [0.95, 1.0])
def test_a_canary_that_did_not_get_slower_excuses_nothing(canary: float) -> None:
    canaries = [7.0] * BEFORE + [7.0 * canary] * AFTER
    (step,) = steps(runs_at(SLOWER, canaries=canaries))
    assert step.is_regression
    assert step.change == pytest.approx(0.05, abs=0.005)


def test_a_canary_that_spreads_widely_excuses_nothing() -> None:
    canaries = [5.0, 9.0] * (BEFORE // 2) + [5.0, 10.0] * (AFTER // 2)
    (step,) = steps(runs_at(SLOWER, canaries=canaries))
    assert step.is_regression
    assert step.reason == ""


def test_a_canary_that_moves_alone_makes_no_step() -> None:
    canaries = [7.0] * BEFORE + [9.0] * AFTER
    assert steps(runs_at([1.0] * len(RUNS), canaries=canaries)) == []


def test_five_runs_have_no_step_not_even_of_the_environment() -> None:
    levels = [1.0] * 2 + [2.0] * 3
    headers = from_run(2, with_other_torch)[:5]
    assert steps(runs_at(levels, headers=headers)) == []


def test_runs_are_in_the_order_in_which_they_began() -> None:
    files = runs_at(SLOWER)
    assert steps(files[::-1]) == steps(files)
    (cell,) = cell_histories(files[::-1])
    assert [point.run.header for point in cell.points] == [file.header for file in files]
