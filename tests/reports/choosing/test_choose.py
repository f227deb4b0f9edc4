"""From results files to a selection, and to a file that is whole or not there."""

import msgspec
import pytest

from reports.choosing.candidates import Rules
from reports.choosing.choose import choose, problem_of
from suite.cases.case import Case
from suite.failures import BadRequest
from suite.records.record import RunHeader
from tests.records import (
    a_canary,
    a_cell,
    a_check,
    a_fault,
    a_limit,
    a_machine,
    a_pair,
    a_plan,
    a_time,
    a_versus,
    results,
)
from tests.reports.tunings import case_of, memories, select, tuning
from variants.selection.schema import RUNS_AT_MOST, Problem

TIMES = {"eager": {512: 3.0, 1024: 9.0}, "flex": {512: 2.0, 1024: 6.0}}
MEBIBYTE = 1 << 20


def test_there_is_a_choice_for_every_problem_with_what_it_was_measured_on() -> None:
    header = a_machine()
    selection = select(tuning(TIMES, header=header)).selection
    assert [one.problem.kv_len for one in selection.choices] == [512, 1024]
    assert (selection.hardware, selection.software) == (header.hardware, header.software)
    assert (selection.threads, selection.objective) == (2, "eager")
    assert selection.measured == (f"{header.started} of 000000000000",)
    assert selection.policy["clock"] == "cpu"


def test_uncommitted_code_is_marked() -> None:
    here = a_machine()
    dirty = msgspec.structs.replace(here.circumstances, uncommitted=True)
    header = msgspec.structs.replace(here, circumstances=dirty)
    assert select(tuning(TIMES, header=header)).selection.measured[0].endswith("+")


def test_a_gpu_s_driver_is_part_of_the_software() -> None:
    assert select(tuning(TIMES, header=of_gpu("580.12"))).selection.software["driver"] == "580.12"
    assert "driver" not in select(tuning(TIMES)).selection.software


def test_a_problem_has_all_of_a_case_s_values() -> None:
    case = Case(
        heads=8,
        kv_heads=2,
        head_dim=80,
        q_len=7,
        kv_len=9,
        dtype="float16",
        batch=3,
        mode="backward",
        bias_max=16.0,
        slope_scale="1/sqrt(d)",
        scale="1/d",
        layout="bnhd",
        logit_scale=2.0,
    )
    problem = problem_of(case)
    assert Case(**msgspec.structs.asdict(problem)) == case
    assert problem != Problem(heads=8, kv_heads=2, head_dim=80, q_len=7, kv_len=9, dtype="float16")


def test_peers_and_kernels_of_a_user_are_chosen_among_only_where_that_is_asked_for() -> None:
    file = tuning({"eager": {512: 3.0}, "ggml": {512: 1.0}, "mine.py?block=2": {512: 2.0}})
    (ours,) = select(file).selection.choices
    assert [candidate.variant for candidate in ours.candidates] == ["eager"]
    (any_of_them,) = choose([file], Rules(others=True)).selection.choices
    assert any_of_them.variant == "ggml"
    names = [candidate.variant for candidate in any_of_them.candidates]
    assert names == ["ggml", "mine.py?block=2", "eager"]


def test_what_another_interpreter_measured_is_chosen_among_only_where_nothing_is_written() -> None:
    file = tuning({"eager": {512: 3.0}, "flex": {512: 1.0}})
    plan = msgspec.structs.replace(file.header.plan, pythons=(("flex", "/other/python"),))
    elsewhere = file._replace(header=msgspec.structs.replace(file.header, plan=plan))
    (ours,) = select(elsewhere).selection.choices
    assert [candidate.variant for candidate in ours.candidates] == ["eager"]
    (any_of_them,) = choose([elsewhere], Rules(others=True)).selection.choices
    assert any_of_them.variant == "flex"


def test_a_selections_software_is_without_that_of_peers() -> None:
    header = a_machine()
    raced = header.software | {"jax": "0.10.2", "torch of ggml": "2.11.0"}
    beside = msgspec.structs.replace(header, software=raced)
    assert select(tuning(TIMES, header=beside)).selection.software == header.software


def test_what_takes_too_much_or_errs_too_far_is_left_out() -> None:
    weights = memories({"eager": MEBIBYTE, "flex": 5 * MEBIBYTE})
    file = tuning({"eager": {512: 3.0}, "flex": {512: 2.0}}, *weights)
    unlimited, limited = (
        select(file, rules=Rules(max_memory_bytes=limit)).selection
        for limit in (None, 3 * MEBIBYTE)
    )
    assert unlimited.choices[0].variant == "flex"
    assert limited.choices[0].variant == "eager"
    assert limited.max_memory_bytes == 3 * MEBIBYTE
    with pytest.raises(BadRequest, match="no variant keeps --max-memory and --max-error"):
        select(file, rules=Rules(max_error=1e-9))


def test_a_problem_without_a_candidate_is_told_and_the_others_are_chosen_for() -> None:
    fault = a_fault(case_of(1024), "eager")
    found = select(tuning({"eager": {512: 3.0, 1024: 9.0}}, fault))
    assert [one.problem.kv_len for one in found.selection.choices] == [512]
    assert found.left_out == [f"{case_of(1024).id}: no variant was measured and agrees"]


def test_a_time_on_the_device_is_not_to_be_had_of_a_cpu() -> None:
    with pytest.raises(BadRequest, match="no time on a device, which only a GPU has"):
        select(tuning(TIMES), rules=Rules("graph"))


def of_gpu(driver: str) -> RunHeader:
    """Return a machine whose GPU has a driver."""
    here = a_machine()
    with_gpu = msgspec.structs.replace(here.circumstances, gpu={"driver": driver})
    return msgspec.structs.replace(here, circumstances=with_gpu)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (a_machine(key="cpu-other"), "hardware key cpu-other and not cpu-invented-2cores"),
        (a_machine(torch="2.12.0"), "torch 2.12.0 and not 2.13.0"),
        (a_machine(threads=4), "threads 4 and not 2"),
        (of_gpu("580.12"), "driver 580.12 and not absent"),
    ],
)
def test_files_that_cannot_be_compared_are_not_chosen_from(other: RunHeader, told: str) -> None:
    files = [tuning(TIMES), tuning(TIMES, header=other)]
    with pytest.raises(BadRequest, match=f"{told}; name files of one device"):
        choose(files, Rules())


def test_of_two_commits_the_newer_is_chosen_from_and_that_is_told() -> None:
    newer = a_machine(commit="1" * 40, started="2026-01-03T00:00:00+00:00")
    files = [
        tuning({"eager": {512: 3.0}, "flex": {512: 2.0}}),
        tuning({"flex": {512: 4.0}}, header=newer),
    ]
    found = select(*files)
    assert [one.variant for one in found.selection.choices] == ["eager"]
    assert found.cautions == ["1 cells were measured by several commits; of each the newest counts"]
    assert select(files[0]).cautions == []


def test_what_makes_figures_uncertain_is_told() -> None:
    canaries = a_canary(1, 6.6), a_canary(2, 240.0)
    found = select(tuning(TIMES, *canaries, a_limit(), a_limit(pass_number=2)))
    assert found.cautions == ["Take care: the canary moved by 36.36x, from 6.6 to 240.0 ms"]


def test_a_variant_too_noisy_to_rank_is_not_chosen_and_an_incumbent_stays() -> None:
    case, other = case_of(512), case_of(1024)
    busy, calm = [1, 2, 3], [4, 5, 6, 7, 8, 9]
    file = results(
        a_machine(a_plan(case, other, variants=["no_bias", "flex", "eager"])),
        *a_cell(other, "eager"),
        *(a_check(case, name) for name in ("no_bias", "flex", "eager")),
        a_time(case, "no_bias", [16.0] * 3 + [1.0] * 6),
        a_time(case, "flex", [27.0] * 3, rounds=busy),
        a_time(case, "eager", [3.0] * 6, rounds=calm),
    )
    assert [one.variant for one in select(file).selection.choices] == ["eager", "eager"]
    before = select(tuning({"flex": {512: 1.0}})).selection
    found = select(file, before=before)
    assert [one.variant for one in found.selection.choices] == ["flex", "eager"]
    assert found.left_out == [
        f"{case_of(512).id}: flex, chosen before, was too noisy to rank; it stays"
    ]


def test_a_file_of_pairs_is_not_chosen_from() -> None:
    with pytest.raises(BadRequest, match="a file of pairs and no run's"):
        choose([tuning(TIMES, a_versus(), a_pair(case_of(512), "flex"))], Rules())


def test_what_was_chosen_for_other_problems_is_kept_if_it_was_measured_alike() -> None:
    before = select(tuning({"eager": {256: 1.0}})).selection
    after = select(tuning(TIMES), before=before).selection
    assert sorted(one.problem.kv_len for one in after.choices) == [256, 512, 1024]
    elsewhere = tuning(TIMES, header=a_machine(torch="2.12.0"))
    assert len(select(elsewhere, before=before).selection.choices) == 2
    assert (
        len(select(tuning(TIMES), before=before, rules=Rules(max_error=1.0)).selection.choices) == 2
    )


def test_what_was_chosen_under_other_terms_is_dropped_and_that_is_told() -> None:
    before = select(tuning({"eager": {256: 1.0, 512: 1.0}})).selection
    after = select(tuning(TIMES, header=a_machine(torch="2.12.0")), before=before)
    assert after.dropped == "1 problems chosen before are dropped: other software"
    assert select(tuning(TIMES), before=before).dropped is None


def test_an_incumbent_that_was_not_measured_stays() -> None:
    before = select(tuning({"eager": {512: 1.0}, "flex": {512: 9.0}})).selection
    found = select(tuning({"flex": {512: 9.0, 1024: 9.0}}), before=before)
    assert before.choices[0] in found.selection.choices
    assert found.left_out == [
        f"{case_of(512).id}: eager, chosen before, was not measured; it stays"
    ]
    elsewhere = tuning({"flex": {512: 9.0}}, header=a_machine(torch="2.12.0"))
    assert select(elsewhere, before=before).selection.choices[0].variant == "flex"


def test_a_choice_that_disagrees_by_now_is_gone_though_nothing_takes_its_place() -> None:
    before = select(tuning({"eager": {512: 1.0}})).selection
    wrong = a_check(case_of(512), "eager", error=1.0)
    found = select(tuning({"eager": {512: 1.0, 1024: 1.0}}, wrong), before=before)
    assert [one.problem.kv_len for one in found.selection.choices] == [1024]


def test_a_selection_names_the_last_runs_that_it_was_made_from() -> None:
    runs = tuple(f"2025-01-02T03:04:05+00:00 of {number:012}" for number in range(RUNS_AT_MOST))
    before = msgspec.structs.replace(select(tuning({"eager": {256: 1.0}})).selection, measured=runs)
    found = select(tuning(TIMES), before=before).selection
    assert len(found.measured) == RUNS_AT_MOST
    assert found.measured[-1].startswith(a_machine().started)


def test_where_nothing_was_measured_yet_that_is_the_reason() -> None:
    nothing = msgspec.structs.replace(a_machine(), plan=a_plan(case_of(512)))
    with pytest.raises(BadRequest, match="not measured yet: run --resume completes the file"):
        select(results(nothing))
