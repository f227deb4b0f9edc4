"""What a file of pairs says of each cell, and which cells its first stage suspects."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from reports.verdicts.compare_pairs import compare_pairs, figures, suspected_cells
from reports.verdicts.comparison import Comparison
from suite.cases.case import Case
from suite.records.record import Agreement, Fault, Memory, PairSide, Record, Stage, Status
from suite.records.store import Results, StoreError, read
from tests.records import (
    FAULTS,
    a_case,
    a_check,
    a_fault,
    a_machine,
    a_memory,
    a_pair,
    a_plan,
    a_run,
    a_versus,
    results,
    write,
)
from tests.reports.comparisons import GATE, STEADY, assert_strict_json, line_of, refusal, times

CASE = a_case()
PAIRS = (0.99, 1.01, 1.0, 1.005, 0.995, 1.0)


def of_side(side: PairSide, *records: Agreement | Memory | Fault) -> list[Record]:
    """Return records as they are of a side of a duel."""
    return [msgspec.structs.replace(record, side=side) for record in records]


def sound_records(case: Case, variant: str) -> list[Record]:
    """Return the checks and weights of a cell that both sides have."""
    sound: list[Agreement | Memory] = [a_check(case, variant, 0), a_memory(case, variant, 0)]
    return [*of_side("base", *sound), *of_side("head", *sound)]


def stage_pairs(variant: str, ratios: Sequence[float], stage: Stage = "first") -> list[Record]:
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
    records: list[Record] = [one for variant in first for one in sound_records(CASE, variant)]
    records.append(a_versus((len(PAIRS), len(PAIRS)), gate=gate, injected=injected))
    for variant, ratios in first.items():
        records += stage_pairs(variant, ratios)
    for variant, ratios in (second or {}).items():
        records += stage_pairs(variant, ratios, "second")
    return results(a_machine(a_plan(CASE, variants=list(first))), *records, *others)


def judge(file: Results) -> Comparison:
    """Return what a file of pairs says, and see that it is strict JSON."""
    found = compare_pairs(file)
    assert_strict_json(found)
    return found


def test_a_pairs_figure_is_the_median_over_its_rounds_of_the_log_ratio() -> None:
    pair = a_pair(CASE, "eager", ratio=[1.1, 9.0, 1.2, 0.1, 1.3])
    late = a_pair(CASE, "eager", 2, stage="second", ratio=2.0)
    file = results(a_machine(), pair, late)
    assert figures(file, "first") == {(CASE, "eager"): [pytest.approx(math.log(1.2))]}
    assert figures(file, "second") == {(CASE, "eager"): [pytest.approx(math.log(2.0))]}


def test_pairs_of_the_same_code_are_the_same() -> None:
    found = judge(duel({"eager": PAIRS, "flex": PAIRS}))
    assert (found.base, found.head, found.notes) == ("main", "this tree", [])
    for line in found.lines:
        assert (line.verdict, line.replicates, line.memory_ratio) == ("same", 6, 1.0)
        assert line.ratio == pytest.approx(1.0, abs=1e-3)
    assert not found.regressed


def test_a_confirmed_alarm_reports_what_the_second_stage_measured() -> None:
    found = judge(duel({"eager": times(1.10, PAIRS), "flex": PAIRS}, {"eager": times(1.05, PAIRS)}))
    line = line_of(found)
    assert (line.verdict, line_of(found, "flex").verdict) == ("slower", "same")
    assert line.replicates == len(PAIRS)
    assert line.ratio == pytest.approx(1.05, rel=1e-3)
    assert line.ratio_ci is not None
    assert 1.03 < line.ratio_ci[0] < 1.05 < line.ratio_ci[1] < 1.07
    assert found.regressed


def test_a_confirmed_gain_is_faster() -> None:
    found = judge(duel({"eager": times(0.9, PAIRS)}, {"eager": times(0.9, PAIRS)}))
    assert (line_of(found).verdict, found.regressed) == ("faster", False)


def test_what_the_second_stage_does_not_confirm_raises_no_alarm() -> None:
    found = judge(duel({"eager": times(1.05, PAIRS), "flex": PAIRS}, {"eager": PAIRS}))
    assert line_of(found).verdict != "slower"
    assert line_of(found).replicates == 2 * len(PAIRS)
    assert not found.regressed


def test_a_second_stage_of_what_was_no_suspect_changes_nothing() -> None:
    without = line_of(judge(duel({"eager": PAIRS, "flex": PAIRS})))
    line = line_of(judge(duel({"eager": PAIRS, "flex": PAIRS}, {"eager": times(1.5, PAIRS)})))
    assert (line.verdict, line.ratio, line.ratio_ci) == ("same", without.ratio, without.ratio_ci)


@pytest.mark.parametrize("factor", [1.3, 0.7])
def test_without_a_second_stage_nothing_is_slower_or_faster(factor: float) -> None:
    found = judge(duel({"eager": times(factor, PAIRS), "flex": PAIRS}))
    line = line_of(found)
    assert line.verdict == "inconclusive"
    assert line.ratio == pytest.approx(factor, rel=1e-3)
    assert not found.regressed


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_an_interrupted_first_stage_still_has_verdicts(pairs: int) -> None:
    found = judge(duel({"eager": times(1.3, PAIRS[:pairs]), "flex": PAIRS[:pairs]}))
    assert [line.replicates for line in found.lines] == [pairs, pairs]
    assert {line.verdict for line in found.lines} <= {"same", "inconclusive"}
    assert not found.regressed


def test_an_interrupted_second_stage_confirms_nothing_with_one_pair() -> None:
    found = judge(duel({"eager": times(1.3, PAIRS)}, {"eager": (1.3,)}))
    assert (line_of(found).verdict, found.regressed) == ("inconclusive", False)


@pytest.mark.parametrize(
    ("first", "second", "note"),
    [
        ({"eager": PAIRS[:3], "flex": PAIRS[:4]}, {}, "3 of 6 pairs of the first"),
        ({"eager": (), "flex": PAIRS}, {}, "0 of 6 pairs of the first"),
        ({"eager": times(1.3, PAIRS), "flex": PAIRS}, {}, "0 of 6 pairs of the second"),
        (
            {"eager": times(1.3, PAIRS)},
            {"eager": times(1.3, PAIRS[:5])},
            "5 of 6 pairs of the second",
        ),
        (dict.fromkeys("abcd", PAIRS) | {"eager": times(1.3, PAIRS)}, {"eager": PAIRS}, "6 of 12"),
    ],
)
def test_what_was_cut_short_says_so(
    first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]], note: str
) -> None:
    (said,) = judge(duel(first, second)).notes
    assert said.startswith(f"cut short: {note}")


def test_a_cell_that_broke_cuts_nothing_short() -> None:
    slower = times(1.1, PAIRS)
    fault = a_fault(CASE, "flex", 2, status="crashed", reason="signal 11")
    cells = {"eager": slower, "flex": PAIRS[:1], "compile": PAIRS, "rope": PAIRS}
    assert judge(duel(cells, {"eager": slower}, fault)).notes == []


def test_another_software_of_base_is_said() -> None:
    versus = a_versus((6, 12))
    versus = msgspec.structs.replace(versus, base_software={"torch": "2.12.0", "cuda": "12.9"})
    found = judge(results(a_machine(), versus))
    assert found.notes == ["across software: cuda absent and not 12.9; torch 2.13.0 and not 2.12.0"]


def test_a_file_that_was_cut_short_before_its_plan_is_neither_a_run_nor_pairs() -> None:
    warm_up_alone = results(a_machine(), *sound_records(CASE, "eager"))
    with pytest.raises(StoreError, match="cut short before its first pair; measure again"):
        compare_pairs(warm_up_alone)
    assert refusal(warm_up_alone, a_run({"eager": STEADY})).endswith("it has both sides")


def test_a_cell_that_was_primed_and_never_paired_says_so() -> None:
    found = judge(duel({"eager": (), "flex": PAIRS}))
    line = line_of(found)
    assert line.verdict == "inconclusive"
    assert line.reason is not None
    assert "not measured" in line.reason
    assert not found.regressed


def test_the_gate_of_a_duel_is_the_one_it_was_planned_with() -> None:
    slower = times(1.05, PAIRS)
    assert judge(duel({"eager": slower}, {"eager": slower}, gate=0.03)).regressed
    assert not judge(duel({"eager": slower}, {"eager": slower}, gate=0.10)).regressed


def test_only_what_looks_different_is_suspected() -> None:
    file = duel({"eager": times(1.1, PAIRS), "flex": PAIRS, "compile": times(0.9, PAIRS)})
    assert suspected_cells(file, GATE) == [(CASE, "eager"), (CASE, "compile")]
    assert suspected_cells(file, 0.2) == []


def test_a_cell_that_broke_is_no_suspect_and_no_part_of_the_family_of_the_others() -> None:
    fault = a_fault(CASE, "flex", 6, status="crashed", reason="signal 11")
    file = duel({"eager": times(1.1, PAIRS), "flex": times(1.1, PAIRS[:5])}, None, fault)
    assert suspected_cells(file, GATE) == [(CASE, "eager")]


@pytest.mark.parametrize("status", FAULTS)
def test_a_fault_on_heads_side_is_missing_and_on_bases_side_inconclusive(status: Status) -> None:
    fault = a_fault(CASE, "eager", 3, status=status, reason="so it was")
    pairs = {"eager": PAIRS[:2], "flex": PAIRS}
    for side, verdict in (("head", "missing"), ("base", "inconclusive")):
        found = judge(duel(pairs, None, *of_side("head" if side == "head" else "base", fault)))
        line = line_of(found)
        assert (line.verdict, line.reason) == (verdict, f"{status} in {side}: so it was")
        assert line.ratio is None
        assert found.regressed == (side == "head")
        assert line_of(found, "flex").verdict == "same"


def test_a_confirmed_alarm_of_a_cell_that_then_breaks_is_missing() -> None:
    slower = times(1.1, PAIRS)
    fault = a_fault(CASE, "eager", 9, status="timed_out", reason="120 s")
    found = judge(duel({"eager": slower}, {"eager": slower}, fault))
    assert (line_of(found).verdict, found.regressed) == ("missing", True)


def test_a_side_that_disagrees_is_wrong_in_head_and_inconclusive_in_base() -> None:
    disagrees = a_check(CASE, "eager", 0, stage="after", error=1.0)
    in_head = judge(duel({"eager": ()}, None, *of_side("head", disagrees)))
    in_base = judge(duel({"eager": ()}, None, *of_side("base", disagrees)))
    assert (line_of(in_head).verdict, in_head.regressed) == ("wrong", True)
    assert (line_of(in_base).verdict, in_base.regressed) == ("inconclusive", False)
    assert (line_of(in_base).reason or "").startswith("disagrees in base")


def test_a_variant_that_one_side_lacks_is_missing_or_new() -> None:
    header = a_machine(a_plan(CASE, variants=["eager", "flex"]))
    alone = [
        *of_side("base", a_check(CASE, "eager", 0)),
        *of_side("head", a_check(CASE, "flex", 0)),
    ]
    found = judge(results(header, *alone, a_versus()))
    assert (line_of(found).verdict, line_of(found, "flex").verdict) == ("missing", "inconclusive")
    assert found.regressed


def test_memory_and_error_regress_in_pairs_too() -> None:
    heavier = of_side("head", a_memory(CASE, "eager", 0, peak_bytes=4 << 20))
    less_exact = [
        *of_side("base", a_check(CASE, "flex", 0, stage="after", error=1e-7)),
        *of_side("head", a_check(CASE, "flex", 0, stage="after", error=9e-7)),
    ]
    found = judge(duel({"eager": PAIRS, "flex": PAIRS}, None, *heavier, *less_exact))
    eager, flex = line_of(found), line_of(found, "flex")
    assert (eager.verdict, eager.heavier) == ("same", True)
    assert eager.memory_ratio == pytest.approx(4 / 3)
    assert (flex.verdict, flex.less_exact) == ("same", True)
    assert flex.error_ratio == pytest.approx(9.0)
    assert found.regressed


def test_a_slowdown_on_purpose_is_said() -> None:
    name = f"eager {CASE.id}"
    found = judge(duel({"eager": PAIRS}, injected={name: 0.05}))
    assert found.notes == [f"{name} slowed by 5% on purpose"]


def test_a_run_is_no_file_of_pairs() -> None:
    with pytest.raises(StoreError) as refused:
        compare_pairs(a_run({"eager": STEADY}, name="run.jsonl"))
    assert str(refused.value).startswith("run.jsonl: ")
    assert "\n" not in str(refused.value)


def test_a_file_of_pairs_says_the_same_after_reading_it_back(tmp_path: Path) -> None:
    file = duel({"eager": times(1.1, PAIRS)}, {"eager": times(1.1, PAIRS)})
    written = write(tmp_path / "pairs.jsonl", *file.records)  # type: ignore[arg-type]
    assert compare_pairs(read(written)) == compare_pairs(file)


def test_a_file_of_pairs_is_no_side_of_a_comparison_of_runs() -> None:
    pairs = duel({"eager": PAIRS})._replace(path=Path("pairs.jsonl"))
    whole = a_run({"eager": STEADY})
    for base, head in ((pairs, whole), (whole, pairs), (pairs, pairs)):
        assert refusal(base, head).startswith("pairs.jsonl: a file of pairs")
