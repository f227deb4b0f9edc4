"""Whatever became of a cell from base to head is said, and nothing that got worse passes."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reports.comparison import Comparison, Line
from reports.verdicts import render
from reports.versus import figures, of_duel, of_files, suspected
from suite.case import Case
from suite.machine import Policy
from suite.record import (
    SCHEMA,
    Agreement,
    Fault,
    Machine,
    Memory,
    PairSide,
    Record,
    Stage,
    Status,
)
from suite.store import Results, StoreError, read
from tests.records import (
    a_canary,
    a_case,
    a_check,
    a_fault,
    a_machine,
    a_memory,
    a_pair,
    a_plan,
    a_time,
    a_versus,
    measured,
    results,
    write,
)

CASE = a_case()
GATE = 0.01
STEADY = (1.00, 1.01, 0.99)
WIDE = (0.7, 1.0, 1.4)
PAIRS = (0.99, 1.01, 1.0, 1.005, 0.995, 1.0)
FAULTS: list[Status] = ["unsupported", "crashed", "timed_out", "out_of_memory", "failed"]


def run(
    ms: Mapping[str, Sequence[float]],
    *others: Record,
    machine: Machine | None = None,
    canaries: Sequence[float] = (),
    name: str = "invented.jsonl",
) -> Results:
    """Return a file in which each variant took so many milliseconds in each pass."""
    records: list[Record] = [a_canary(number, each) for number, each in enumerate(canaries, 1)]
    for variant, by_pass in ms.items():
        for number, each in enumerate(by_pass, start=1):
            records += measured(CASE, variant, each, number)
    plan = a_plan(CASE, variants=list(ms), passes=3)
    return results(machine or a_machine(plan), *records, *others)._replace(path=Path(name))


def by(factor: float, passes: Sequence[float] = STEADY) -> tuple[float, ...]:
    """Return passes that took so many times as long."""
    return tuple(factor * each for each in passes)


def compared(base: Results, head: Results, **asked: Any) -> Comparison:
    """Compare two files and see that what programs get of it is strict JSON."""
    found = of_files(base, head, GATE, **asked)
    assert_strict_json(found)
    return found


def assert_strict_json(comparison: Comparison) -> None:
    """Fail for a NaN or an Infinity, as figures and as what an encoder makes of them."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(render(comparison, "json"), parse_constant=refuse)
    json.dumps(msgspec.to_builtins(comparison), allow_nan=False)


def line_of(comparison: Comparison, variant: str = "eager") -> Line:
    """Return the only line of a variant."""
    (line,) = (one for one in comparison.lines if one.variant == variant)
    return line


# Two runs: times


def test_a_cell_that_is_slower_in_every_pass_has_regressed() -> None:
    base = run({"eager": STEADY, "flex": by(2)})
    found = compared(base, run({"eager": by(1.3), "flex": by(2)}))
    line = line_of(found)
    assert (line.case, line.verdict, line.replicates, line.reason) == (CASE.id, "slower", 3, None)
    assert line.ratio == pytest.approx(1.3, rel=1e-3)
    assert line.ratio_ci is not None
    assert 1.2 < line.ratio_ci[0] < 1.3 < line.ratio_ci[1] < 1.4
    assert line.regressed
    assert line_of(found, "flex").verdict == "same"
    assert not line_of(found, "flex").regressed
    assert found.regressed


def test_a_faster_cell_has_not_regressed() -> None:
    found = compared(run({"eager": STEADY}), run({"eager": by(0.7)}))
    assert line_of(found).verdict == "faster"
    assert line_of(found).ratio == pytest.approx(0.7, rel=1e-3)
    assert not found.regressed


def test_the_same_file_twice_is_the_same() -> None:
    both = run({"eager": (1.0, 1.001, 0.999)})
    found = compared(both, both)
    assert (line_of(found).verdict, line_of(found).ratio) == ("same", 1.0)
    assert not found.regressed


@pytest.mark.parametrize(
    ("base", "head"),
    [((1.0,), (1.3,)), (STEADY, (1.3,)), ((1.0,), by(1.3)), (WIDE, by(1.3, WIDE))],
    ids=["one pass each", "one pass in head", "one pass in base", "wide passes"],
)
def test_few_or_wide_passes_tell_nothing(base: Sequence[float], head: Sequence[float]) -> None:
    found = compared(run({"eager": base}), run({"eager": head}))
    line = line_of(found)
    assert line.verdict == "inconclusive"
    assert line.ratio is not None
    assert line.replicates == min(len(base), len(head))
    assert (line.ratio_ci is None) == (line.replicates == 1)
    assert not found.regressed


def test_no_less_than_the_gate_raises_an_alarm() -> None:
    base, head = run({"eager": STEADY}), run({"eager": by(1.3)})
    assert not of_files(base, head, gate=0.4).regressed
    assert of_files(base, head, gate=0.2).regressed


# Two runs: cells that have no times on both sides


def test_a_renamed_variant_is_missing_under_its_old_name_and_new_under_the_other() -> None:
    found = compared(run({"eager": STEADY}), run({"eagre": STEADY}))
    old, new = line_of(found, "eager"), line_of(found, "eagre")
    assert (old.verdict, old.reason) == ("missing", "base has it and head does not")
    assert (new.verdict, new.reason) == ("inconclusive", "head has it and base does not")
    assert (old.regressed, new.regressed) == (True, False)
    assert found.regressed


def test_a_vanished_case_is_missing() -> None:
    gone = a_case(1024)
    base = run({"eager": STEADY}, *measured(gone, "eager"))
    found = compared(base, run({"eager": STEADY}))
    (line,) = (one for one in found.lines if one.case == gone.id)
    assert (line.verdict, line.regressed) == ("missing", True)
    assert found.regressed


@pytest.mark.parametrize("status", FAULTS)
def test_a_cell_that_fails_in_head_alone_is_missing_with_the_reason(status: Status) -> None:
    fault = a_fault(CASE, "eager", 2, status=status, reason="so it was")
    base = run({"eager": STEADY, "flex": STEADY})
    found = compared(base, run({"eager": STEADY[:1], "flex": STEADY}, fault))
    line = line_of(found)
    assert (line.verdict, line.reason) == ("missing", f"{status} in head: so it was")
    assert (line.ratio, line.ratio_ci, line.replicates) == (None, None, 0)
    assert found.regressed
    assert line_of(found, "flex").verdict == "same"


def test_a_cell_that_head_has_not_measured_yet_is_missing_with_a_way_out() -> None:
    head = run({"flex": STEADY}, machine=a_machine(a_plan(CASE, variants=["eager", "flex"])))
    found = compared(run({"eager": STEADY, "flex": STEADY}), head)
    line = line_of(found)
    assert line.verdict == "missing"
    assert line.reason is not None
    assert "--resume" in line.reason
    assert found.regressed


@pytest.mark.parametrize("stage", ["before", "after"])
@pytest.mark.parametrize(
    ("error", "words"),
    [(8e-6, "error 8.0e-06, 8 times its budget of 1.0e-06"), (None, "no finite error")],
)
def test_what_agreed_in_base_and_disagrees_in_head_is_wrong(
    stage: Any, error: float | None, words: str
) -> None:
    disagrees = a_check(CASE, "eager", 2, stage=stage, error=error)
    found = compared(run({"eager": STEADY}), run({"eager": by(0.1)}, disagrees))
    line = line_of(found)
    reason = f"disagrees in head: out, batch 0 head 3: {words}"
    assert (line.verdict, line.reason, line.ratio) == ("wrong", reason, None)
    assert found.regressed


def test_what_failed_in_base_is_no_regression_in_head_and_its_status_is_said() -> None:
    crashed = a_fault(CASE, "eager", status="crashed", reason="killed by signal 11")
    disagrees = a_check(CASE, "flex", error=None)
    base = run({"eager": (), "flex": ()}, crashed, disagrees)
    for head in (base, run({"eager": STEADY, "flex": STEADY})):
        found = compared(base, head)
        eager, flex = line_of(found), line_of(found, "flex")
        assert (eager.verdict, flex.verdict) == ("inconclusive", "inconclusive")
        assert eager.reason == "crashed in base: killed by signal 11"
        assert flex.reason == "disagrees in base: out, batch 0 head 3: no finite error"
        assert not found.regressed


@pytest.mark.parametrize(
    "others",
    [(), (a_fault(CASE, "eager"),), (a_check(CASE, "eager", error=1.0),)],
    ids=["not measured in head either", "unsupported in head", "disagrees in head"],
)
def test_what_base_never_measured_can_not_have_regressed(others: Sequence[Record]) -> None:
    found = compared(run({"eager": ()}), run({"eager": ()}, *others))
    assert line_of(found).verdict == "inconclusive"
    assert line_of(found).reason == "not measured in base"
    assert not found.regressed


def test_what_is_new_in_head_is_said() -> None:
    found = compared(run({"eager": STEADY}), run({"eager": STEADY, "flex": STEADY}))
    line = line_of(found, "flex")
    assert (line.verdict, line.reason) == ("inconclusive", "head has it and base does not")
    assert not found.regressed


def test_runs_of_nothing_compare_to_nothing() -> None:
    found = compared(run({}), run({}))
    assert (found.lines, found.regressed) == ([], False)


# Two runs: what can't be compared


def refusal(base: Results, head: Results, **asked: Any) -> str:
    """Return why two files can't be compared, in one line."""
    with pytest.raises(StoreError) as refused:
        of_files(base, head, GATE, **asked)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_refusal_names_every_field_that_differs() -> None:
    policy = Policy(threads=1, malloc={"A": "1"}, omp_wait_policy="active", clock="cuda")
    other = msgspec.structs.replace(a_machine(key="cpu-other", torch="2.12.0"), policy=policy)
    told = refusal(run({}, name="b.jsonl"), run({}, machine=other, name="h.jsonl"))
    assert told.startswith("h.jsonl against b.jsonl: hardware key cpu-other and not cpu-invented")
    for words in (
        "torch 2.12.0 and not 2.13.0",
        "threads 1 and not 2",
        "malloc {'A': '1'} and not {}",
        "omp_wait_policy active and not default",
        "clock cuda and not cpu",
    ):
        assert words in told
    assert "triton" not in told
    assert "--across" not in told


def test_other_software_is_refused_with_a_hint_and_compared_when_asked_for() -> None:
    base = run({"eager": STEADY}, machine=a_machine(torch="2.12.0"))
    head = run({"eager": by(1.3)})
    assert refusal(base, head).endswith(
        "torch 2.13.0 and not 2.12.0; --across software compares them"
    )
    found = compared(base, head, across=("software",))
    assert line_of(found).verdict == "slower"
    assert found.notes == ["across software: torch 2.13.0 and not 2.12.0"]


def test_a_package_that_one_side_lacks_is_other_software() -> None:
    machine = a_machine()
    with_cuda = msgspec.structs.replace(machine, software=machine.software | {"cuda": "12.9"})
    told = refusal(run({}), run({}, machine=with_cuda))
    assert "cuda 12.9 and not absent; --across software" in told
    compared(run({}), run({}, machine=with_cuda), across=("software",))


@pytest.mark.parametrize("across", [(), ("software",)])
@pytest.mark.parametrize(
    ("other", "words"),
    [
        (a_machine(key="cpu-other"), "hardware key cpu-other"),
        (a_machine(threads=1), "threads 1 and not 2"),
    ],
    ids=["hardware", "policy"],
)
def test_hardware_and_policy_are_never_compared_across(
    across: Sequence[str], other: Machine, words: str
) -> None:
    told = refusal(run({}), run({}, machine=other), across=across)
    assert words in told
    assert "--across" not in told


def test_across_software_only_what_else_differs_is_named() -> None:
    other = a_machine(key="cpu-other", torch="2.12.0")
    told = refusal(run({}), run({}, machine=other), across=("software",))
    assert "hardware key" in told
    assert "torch" not in told


def test_a_file_of_another_schema_is_not_even_read(tmp_path: Path) -> None:
    old = msgspec.structs.replace(a_machine(), schema=SCHEMA - 1)
    with pytest.raises(StoreError, match=f"schema {SCHEMA - 1}"):
        read(write(tmp_path / "old.jsonl", old))


def test_a_file_of_pairs_is_no_side_of_a_comparison_of_runs() -> None:
    pairs = duel({"eager": PAIRS})._replace(path=Path("pairs.jsonl"))
    whole = run({"eager": STEADY})
    for base, head in ((pairs, whole), (whole, pairs), (pairs, pairs)):
        assert refusal(base, head).startswith("pairs.jsonl: a file of pairs")


# Two runs: canaries


def test_times_are_divided_by_canaries_that_moved() -> None:
    base = run({"eager": STEADY}, canaries=(7.0, 7.0, 7.0))
    head = run({"eager": by(1.3)}, canaries=(9.1, 9.1, 9.1))
    found = compared(base, head)
    assert line_of(found).ratio == pytest.approx(1.0, rel=1e-3)
    assert not found.regressed
    assert found.notes == ["times divided by each pass's canary, which moved by over 5%"]


def test_each_pass_is_divided_by_its_own_canary() -> None:
    base = run({"eager": (1.0, 2.0, 4.0)}, canaries=(7.0, 14.0, 28.0))
    head = run({"eager": (5.2, 1.3, 2.6)}, canaries=(28.0, 7.0, 14.0))
    found = compared(base, head)
    assert line_of(found).verdict == "slower"
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)


def test_canaries_that_hardly_moved_are_left_alone() -> None:
    base = run({"eager": STEADY}, canaries=(7.0, 7.1, 7.2))
    head = run({"eager": by(1.3)}, canaries=(7.3, 7.3, 7.3))
    found = compared(base, head)
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert found.notes == []


def test_canaries_of_other_software_divide_nothing() -> None:
    base = run({"eager": STEADY}, canaries=(7.0,) * 3, machine=a_machine(torch="2.12.0"))
    head = run({"eager": by(1.3)}, canaries=(9.1,) * 3)
    found = compared(base, head, across=("software",))
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert not any("canary" in note for note in found.notes)


@pytest.mark.parametrize("canaries", [(), (9.1, 9.1)], ids=["none", "one too few"])
def test_where_a_canary_is_lacking_no_time_is_divided(canaries: Sequence[float]) -> None:
    base = run({"eager": STEADY}, canaries=(7.0, 7.0, 9.1))
    found = compared(base, run({"eager": by(1.3)}, canaries=canaries))
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert found.notes == []


def test_the_parts_of_a_resumed_pass_are_divided_by_a_canary_each() -> None:
    base = run({"eager": STEADY, "flex": STEADY}, canaries=(7.0,) * 3)
    records: list[Record] = []
    for number, each in enumerate(STEADY, start=1):
        records += [a_canary(number, 7.0), *measured(CASE, "eager", each, number)]
        records += [a_canary(number, 9.1), *measured(CASE, "flex", 1.3 * each, number)]
    found = compared(base, results(a_machine(), *records))
    for name in ("eager", "flex"):
        assert line_of(found, name).ratio == pytest.approx(1.0, rel=1e-3)


# Two runs: memory and error


def weighed(peak_bytes: int, persistent_bytes: int = 1 << 20) -> Results:
    """Return a run that took so much memory and always the same time."""
    memory = a_memory(CASE, "eager", peak_bytes=peak_bytes)
    return run(
        {"eager": STEADY}, msgspec.structs.replace(memory, persistent_bytes=persistent_bytes)
    )


@pytest.mark.parametrize(
    ("base", "head", "ratio"),
    [
        ((100 << 20, 1 << 20), (102 << 20, 1 << 20), 1.02),
        ((100 << 20, 1 << 20), (100 << 20, 2 << 20), 2.0),
        ((100 << 20, 1 << 20), (50 << 20, 2 << 20), 2.0),
        ((1 << 20, 0), (1 << 20, 1 << 20), 1.0),
        ((0, 0), (1 << 20, 0), None),
        ((0, 0), (65 << 10, 0), None),
    ],
    ids=[
        "peak",
        "persistent",
        "persistent, less peak",
        "persistent from 0",
        "peak from 0",
        "65 KiB from 0",
    ],
)
def test_more_memory_is_a_regression_at_the_same_time(
    base: tuple[int, int], head: tuple[int, int], ratio: float | None
) -> None:
    found = compared(weighed(*base), weighed(*head))
    line = line_of(found)
    assert (line.verdict, line.heavier, line.memory_ratio) == ("same", True, ratio)
    assert found.regressed


@pytest.mark.parametrize(
    ("base", "head"),
    [
        ((100 << 20, 1 << 20), (50 << 20, 1 << 20)),
        ((100 << 20, 1 << 20), (100 << 20, 0)),
        ((100 << 20, 1 << 20), ((100 << 20) + (900 << 10), 1 << 20)),
        ((64 << 10, 0), (128 << 10, 0)),
        ((0, 0), (64 << 10, 0)),
    ],
    ids=["less peak", "less kept", "below 1%", "64 KiB more", "64 KiB from 0"],
)
def test_less_or_hardly_more_memory_is_none(base: tuple[int, int], head: tuple[int, int]) -> None:
    found = compared(weighed(*base), weighed(*head))
    assert not line_of(found).heavier
    assert not found.regressed


def test_memory_that_one_side_did_not_weigh_is_not_compared() -> None:
    whole, bare = weighed(1 << 20), run({"eager": STEADY})
    for found in (compared(whole, bare), compared(bare, whole)):
        assert (line_of(found).memory_ratio, found.regressed) == (None, False)


def erring(error: float) -> Results:
    """Return a run whose worst error is so large."""
    return run(
        {"eager": ()},
        a_check(CASE, "eager", 1, stage="before", error=error / 2),
        a_check(CASE, "eager", 1, stage="after", error=error),
        *(a_time(CASE, "eager", each, number) for number, each in enumerate(STEADY, 1)),
    )


@pytest.mark.parametrize(
    ("base", "head", "regresses"),
    [(1e-7, 2.1e-7, True), (1e-7, 1.9e-7, False), (5e-7, 1e-8, False), (1e-7, 0.0, False)],
)
def test_an_error_that_doubled_is_a_regression_within_its_budget_and_at_the_same_time(
    base: float, head: float, regresses: bool
) -> None:
    found = compared(erring(base), erring(head))
    line = line_of(found)
    assert line.verdict == "same"
    assert line.error_ratio == pytest.approx(head / base)
    assert (line.less_exact, found.regressed) == (regresses, regresses)


def test_no_error_in_base_has_no_ratio() -> None:
    found = compared(erring(0.0), erring(1e-7))
    assert (line_of(found).error_ratio, found.regressed) == (None, False)


def test_an_error_without_end_in_base_is_no_ground_for_an_alarm() -> None:
    base = run({"eager": STEADY}, a_check(CASE, "eager", error=None))
    found = compared(base, run({"eager": STEADY}))
    assert not found.regressed


# Pairs


def on(side: PairSide, *records: Agreement | Memory | Fault) -> list[Record]:
    """Return records as they are of a side of a duel."""
    return [msgspec.structs.replace(record, side=side) for record in records]


def primed(case: Case, variant: str) -> list[Record]:
    """Return the checks and weights of a cell that both sides have."""
    sound: list[Agreement | Memory] = [a_check(case, variant, 0), a_memory(case, variant, 0)]
    return [*on("base", *sound), *on("head", *sound)]


def taken(variant: str, ratios: Sequence[float], stage: Stage = "first") -> list[Record]:
    """Return the pairs of a stage."""
    return [
        a_pair(CASE, variant, number, stage=stage, ratio=ratio)
        for number, ratio in enumerate(ratios, start=1)
    ]


def duel(
    first: Mapping[str, Sequence[float]],
    second: Mapping[str, Sequence[float]] | None = None,
    *others: Record,
    gate: float = GATE,
    injected: dict[str, float] | None = None,
) -> Results:
    """Return a file of pairs, with each variant's head / base of each pair of both stages."""
    records: list[Record] = [one for variant in first for one in primed(CASE, variant)]
    records.append(a_versus((len(PAIRS), len(PAIRS)), gate=gate, injected=injected))
    for variant, ratios in first.items():
        records += taken(variant, ratios)
    for variant, ratios in (second or {}).items():
        records += taken(variant, ratios, "second")
    return results(a_machine(a_plan(CASE, variants=list(first))), *records, *others)


def judged(file: Results) -> Comparison:
    """Return what a file of pairs says, and see that it is strict JSON."""
    found = of_duel(file)
    assert_strict_json(found)
    return found


def test_a_pairs_figure_is_the_median_over_its_rounds_of_the_log_ratio() -> None:
    pair = a_pair(CASE, "eager", ratio=[1.1, 9.0, 1.2, 0.1, 1.3])
    late = a_pair(CASE, "eager", 2, stage="second", ratio=2.0)
    file = results(a_machine(), pair, late)
    assert figures(file, "first") == {(CASE, "eager"): [pytest.approx(math.log(1.2))]}
    assert figures(file, "second") == {(CASE, "eager"): [pytest.approx(math.log(2.0))]}


def test_pairs_of_the_same_code_are_the_same() -> None:
    found = judged(duel({"eager": PAIRS, "flex": PAIRS}))
    assert (found.base, found.head, found.notes) == ("main", "this tree", [])
    for line in found.lines:
        assert (line.verdict, line.replicates, line.memory_ratio) == ("same", 6, 1.0)
        assert line.ratio == pytest.approx(1.0, abs=1e-3)
    assert not found.regressed


def test_a_confirmed_alarm_reports_what_the_second_stage_measured() -> None:
    found = judged(duel({"eager": by(1.10, PAIRS), "flex": PAIRS}, {"eager": by(1.05, PAIRS)}))
    line = line_of(found)
    assert (line.verdict, line_of(found, "flex").verdict) == ("slower", "same")
    assert line.ratio == pytest.approx(1.05, rel=1e-3)
    assert line.ratio_ci is not None
    assert 1.03 < line.ratio_ci[0] < 1.05 < line.ratio_ci[1] < 1.07
    assert found.regressed


def test_a_confirmed_gain_is_faster() -> None:
    found = judged(duel({"eager": by(0.9, PAIRS)}, {"eager": by(0.9, PAIRS)}))
    assert (line_of(found).verdict, found.regressed) == ("faster", False)


def test_what_the_second_stage_does_not_confirm_raises_no_alarm() -> None:
    found = judged(duel({"eager": by(1.05, PAIRS), "flex": PAIRS}, {"eager": PAIRS}))
    assert line_of(found).verdict != "slower"
    assert not found.regressed


def test_a_second_stage_of_what_was_no_suspect_changes_nothing() -> None:
    without = line_of(judged(duel({"eager": PAIRS, "flex": PAIRS})))
    line = line_of(judged(duel({"eager": PAIRS, "flex": PAIRS}, {"eager": by(1.5, PAIRS)})))
    assert (line.verdict, line.ratio, line.ratio_ci) == ("same", without.ratio, without.ratio_ci)


@pytest.mark.parametrize("factor", [1.3, 0.7])
def test_without_a_second_stage_nothing_is_slower_or_faster(factor: float) -> None:
    found = judged(duel({"eager": by(factor, PAIRS), "flex": PAIRS}))
    line = line_of(found)
    assert line.verdict == "inconclusive"
    assert line.ratio == pytest.approx(factor, rel=1e-3)
    assert not found.regressed


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_an_interrupted_first_stage_still_has_verdicts(pairs: int) -> None:
    found = judged(duel({"eager": by(1.3, PAIRS[:pairs]), "flex": PAIRS[:pairs]}))
    assert [line.replicates for line in found.lines] == [pairs, pairs]
    assert {line.verdict for line in found.lines} <= {"same", "inconclusive"}
    assert not found.regressed


def test_an_interrupted_second_stage_confirms_nothing_with_one_pair() -> None:
    found = judged(duel({"eager": by(1.3, PAIRS)}, {"eager": (1.3,)}))
    assert (line_of(found).verdict, found.regressed) == ("inconclusive", False)


def test_a_cell_that_was_primed_and_never_paired_says_so() -> None:
    found = judged(duel({"eager": (), "flex": PAIRS}))
    line = line_of(found)
    assert line.verdict == "inconclusive"
    assert line.reason is not None
    assert "not measured" in line.reason
    assert not found.regressed


def test_the_gate_of_a_duel_is_the_one_it_was_planned_with() -> None:
    slower = by(1.05, PAIRS)
    assert judged(duel({"eager": slower}, {"eager": slower}, gate=0.03)).regressed
    assert not judged(duel({"eager": slower}, {"eager": slower}, gate=0.10)).regressed


def test_only_what_looks_different_is_suspected() -> None:
    file = duel({"eager": by(1.1, PAIRS), "flex": PAIRS, "compile": by(0.9, PAIRS)})
    assert suspected(file, GATE) == [(CASE, "eager"), (CASE, "compile")]
    assert suspected(file, 0.2) == []


def test_a_cell_that_broke_is_no_suspect_and_no_part_of_the_family_of_the_others() -> None:
    fault = a_fault(CASE, "flex", 6, status="crashed", reason="signal 11")
    file = duel({"eager": by(1.1, PAIRS), "flex": by(1.1, PAIRS[:5])}, None, fault)
    assert suspected(file, GATE) == [(CASE, "eager")]


@pytest.mark.parametrize("status", FAULTS)
def test_a_fault_on_heads_side_is_missing_and_on_bases_side_inconclusive(status: Status) -> None:
    fault = a_fault(CASE, "eager", 3, status=status, reason="so it was")
    pairs = {"eager": PAIRS[:2], "flex": PAIRS}
    for side, verdict in (("head", "missing"), ("base", "inconclusive")):
        found = judged(duel(pairs, None, *on("head" if side == "head" else "base", fault)))
        line = line_of(found)
        assert (line.verdict, line.reason) == (verdict, f"{status} in {side}: so it was")
        assert line.ratio is None
        assert found.regressed == (side == "head")
        assert line_of(found, "flex").verdict == "same"


def test_a_confirmed_alarm_of_a_cell_that_then_breaks_is_missing() -> None:
    slower = by(1.1, PAIRS)
    fault = a_fault(CASE, "eager", 9, status="timed_out", reason="120 s")
    found = judged(duel({"eager": slower}, {"eager": slower}, fault))
    assert (line_of(found).verdict, found.regressed) == ("missing", True)


def test_a_side_that_disagrees_is_wrong_in_head_and_inconclusive_in_base() -> None:
    disagrees = a_check(CASE, "eager", 0, stage="after", error=1.0)
    in_head = judged(duel({"eager": ()}, None, *on("head", disagrees)))
    in_base = judged(duel({"eager": ()}, None, *on("base", disagrees)))
    assert (line_of(in_head).verdict, in_head.regressed) == ("wrong", True)
    assert (line_of(in_base).verdict, in_base.regressed) == ("inconclusive", False)
    assert (line_of(in_base).reason or "").startswith("disagrees in base")


def test_a_variant_that_one_side_lacks_is_missing_or_new() -> None:
    machine = a_machine(a_plan(CASE, variants=["eager", "flex"]))
    alone = [*on("base", a_check(CASE, "eager", 0)), *on("head", a_check(CASE, "flex", 0))]
    found = judged(results(machine, *alone, a_versus()))
    assert (line_of(found).verdict, line_of(found, "flex").verdict) == ("missing", "inconclusive")
    assert found.regressed


def test_memory_and_error_regress_in_pairs_too() -> None:
    heavier = on("head", a_memory(CASE, "eager", 0, peak_bytes=4 << 20))
    less_exact = on("head", a_check(CASE, "flex", 0, stage="after", error=9e-7))
    found = judged(duel({"eager": PAIRS, "flex": PAIRS}, None, *heavier, *less_exact))
    eager, flex = line_of(found), line_of(found, "flex")
    assert (eager.verdict, eager.heavier) == ("same", True)
    assert eager.memory_ratio == pytest.approx(4 / 3)
    assert (flex.verdict, flex.less_exact) == ("same", True)
    assert flex.error_ratio == pytest.approx(9.0)
    assert found.regressed


def test_a_slowdown_on_purpose_is_said() -> None:
    name = f"eager {CASE.id}"
    found = judged(duel({"eager": PAIRS}, injected={name: 0.05}))
    assert found.notes == [f"{name} slowed by 5% on purpose"]


def test_a_run_is_no_file_of_pairs() -> None:
    with pytest.raises(StoreError) as refused:
        of_duel(run({"eager": STEADY}, name="run.jsonl"))
    assert str(refused.value).startswith("run.jsonl: ")
    assert "\n" not in str(refused.value)


def test_a_file_of_pairs_says_the_same_after_reading_it_back(tmp_path: Path) -> None:
    file = duel({"eager": by(1.1, PAIRS)}, {"eager": by(1.1, PAIRS)})
    written = write(tmp_path / "pairs.jsonl", *file.records)  # type: ignore[arg-type]
    assert of_duel(read(written)) == of_duel(file)
