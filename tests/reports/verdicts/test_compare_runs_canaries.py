"""No time is divided by a canary; where the machine's speed changed, a verdict holds both ways."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from reports.pull_request.comment import comment
from reports.verdicts.verdict_table import render
from tests.fakes.console import bench
from tests.records import a_canary, a_case, a_machine, a_memory, a_plan, a_run, write
from tests.reports.compared import STEADY, by, compared, line_of

CALM, SLOW = (7.0, 7.1, 6.9), (9.1, 9.2, 9.0)
SLOWER = (
    "the canary got 30.0% slower from base to head, over the limit of 5%: the machine's speed "
    "changed. A verdict has to hold with that taken off too; measure both again, or use `ab`, "
    "whose sides take turns"
)


def test_no_pass_is_divided_by_its_own_canary() -> None:
    base = a_run({"eager": STEADY}, canaries=(7.0, 14.0, 28.0))
    head = a_run({"eager": by(1.3)}, canaries=(28.0, 7.0, 14.0))
    found = compared(base, head)
    assert line_of(found).verdict == "slower"
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert found.notes == []


def test_a_machine_that_got_slower_is_no_regression_and_no_silent_pass() -> None:
    base = a_run({"eager": STEADY}, canaries=CALM)
    found = compared(base, a_run({"eager": by(1.3)}, canaries=SLOW))
    line = line_of(found)
    assert (line.verdict, line.regressed, line.judged) == ("inconclusive", False, False)
    assert line.ratio == pytest.approx(1.3, rel=1e-3)
    assert line.reason == "slower as measured, same with the canary's move taken off"
    assert found.notes == [SLOWER]


def test_a_regression_does_not_pass_as_the_same_on_a_machine_that_got_faster() -> None:
    base = a_run({"eager": STEADY}, canaries=SLOW)
    found = compared(base, a_run({"eager": by(1.001)}, canaries=CALM))
    line = line_of(found)
    assert (line.verdict, line.judged) == ("inconclusive", False)
    assert line.reason == "same as measured, slower with the canary's move taken off"
    assert found.notes[0].startswith("the canary got 23.1% faster from base to head")


@pytest.mark.parametrize(
    ("factor", "before", "after", "verdict"),
    [
        (1.6, CALM, SLOW, "slower"),
        (1.3, SLOW, CALM, "slower"),
        (0.7, CALM, SLOW, "faster"),
        (0.5, SLOW, CALM, "faster"),
    ],
)
def test_what_is_slower_or_faster_both_ways_is_so(
    factor: float, before: Sequence[float], after: Sequence[float], verdict: str
) -> None:
    base = a_run({"eager": STEADY}, canaries=before)
    found = compared(base, a_run({"eager": by(factor)}, canaries=after))
    assert line_of(found).verdict == verdict
    assert line_of(found).ratio == pytest.approx(factor, rel=1e-3)
    assert line_of(found).reason is None


@pytest.mark.parametrize(("after", "is_over"), [(7.3, False), (7.4, True)])
def test_the_limit_is_5_percent_of_the_mean_over_passes(after: float, is_over: bool) -> None:
    base = a_run({"eager": STEADY}, canaries=(6.5, 7.0, 7.5))
    found = compared(base, a_run({"eager": by(1.001)}, canaries=(after,) * 3))
    assert bool(found.notes) == is_over
    assert (line_of(found).reason is None) == (not is_over)


def test_other_software_is_named_beside_the_machine_and_takes_no_verdict() -> None:
    base = a_run({"eager": STEADY}, canaries=CALM, header=a_machine(torch="2.12.0"))
    found = compared(base, a_run({"eager": by(1.3)}, canaries=SLOW), across=("software",))
    assert line_of(found).verdict == "slower"
    assert found.notes[0].endswith("the machine's speed changed, or the other software did this")


def test_a_run_without_canaries_is_compared_as_it_is() -> None:
    base = a_run({"eager": STEADY}, canaries=SLOW)
    found = compared(base, a_run({"eager": by(1.3)}))
    assert (line_of(found).verdict, found.notes) == ("slower", [])


def test_memory_regresses_whatever_the_canary_does() -> None:
    weights = [a_memory(a_case(), "eager", peak_bytes=size) for size in (3 << 20, 6 << 20)]
    base = a_run({"eager": STEADY}, weights[0], canaries=CALM)
    found = compared(base, a_run({"eager": by(1.3)}, weights[1], canaries=SLOW))
    assert (line_of(found).verdict, line_of(found).heavier) == ("inconclusive", True)
    assert found.regressed


def test_the_move_is_said_above_the_table_and_in_the_comment_of_a_pull_request() -> None:
    base = a_run({"eager": STEADY}, canaries=CALM)
    found = compared(base, a_run({"eager": by(1.3)}, canaries=SLOW))
    second = render(found, "simple").split("\n\n")[1]
    assert " ".join(second.split()) == SLOWER
    assert SLOWER in comment(found, None).partition("<details>")[0]


def test_the_command_exits_with_3_where_the_machine_may_explain_every_cell(tmp_path: Path) -> None:
    plan = a_plan(variants=["eager"], passes=3)
    files = [
        write(
            tmp_path / f"{factor}.jsonl",
            a_machine(plan),
            *(a_canary(number, 7.0 * factor) for number in (1, 2, 3)),
            *a_run({"eager": by(factor)}).records[1:],
        )
        for factor in (1.0, 1.3)
    ]
    done = bench("compare", *files)
    assert done.returncode == 3
    assert "over the limit of 5%" in " ".join(done.stdout.split())
    assert "a quiet machine; measure again" in done.stderr
