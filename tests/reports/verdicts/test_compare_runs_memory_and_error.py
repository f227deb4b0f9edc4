"""More memory or a larger error is a regression, whatever became of the time."""

import msgspec
import pytest

from suite.records.store import Results
from tests.records import a_case, a_check, a_memory, a_run, a_time
from tests.reports.comparisons import STEADY, compare, line_of

CASE = a_case()


def memory_run(peak_bytes: int, persistent_bytes: int = 1 << 20) -> Results:
    """Return a run that took so much memory and always the same time."""
    memory = a_memory(CASE, "eager", peak_bytes=peak_bytes)
    return a_run(
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
    found = compare(memory_run(*base), memory_run(*head))
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
    found = compare(memory_run(*base), memory_run(*head))
    assert not line_of(found).heavier
    assert not found.regressed


def test_the_heaviest_pass_counts() -> None:
    weighings = [a_memory(CASE, "eager", 1 + each, peak_bytes=each << 20) for each in (1, 9, 2)]
    found = compare(memory_run(4 << 20), a_run({"eager": STEADY}, *weighings))
    assert (line_of(found).heavier, line_of(found).memory_ratio) == (True, 9 / 4)


def test_memory_that_one_side_did_not_weigh_is_not_compared() -> None:
    whole, bare = memory_run(1 << 20), a_run({"eager": STEADY})
    for found in (compare(whole, bare), compare(bare, whole)):
        assert (line_of(found).memory_ratio, found.regressed) == (None, False)


def error_run(error: float) -> Results:
    """Return a run whose worst error is so large."""
    return a_run(
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
    found = compare(error_run(base), error_run(head))
    line = line_of(found)
    assert line.verdict == "same"
    assert line.error_ratio == pytest.approx(head / base)
    assert (line.less_exact, found.regressed) == (regresses, regresses)


def test_errors_of_other_inputs_are_compared_as_shares_of_their_budgets() -> None:
    def checks_run(*checks: tuple[float, float], first_seed: int) -> Results:
        records = [
            msgspec.structs.replace(
                a_check(CASE, "eager", 1, error=error, budget=budget), inputs_seed=first_seed + each
            )
            for each, (error, budget) in enumerate(checks)
        ]
        times = (a_time(CASE, "eager", each, number) for number, each in enumerate(STEADY, 1))
        return a_run({"eager": ()}, *records, *times)

    base = checks_run((1e-7, 4e-7), (1e-7, 5e-7), (1e-7, 4e-7), first_seed=1)
    with_an_outlier = checks_run((2.5e-6, 1e-5), (9e-7, 1e-6), (2e-7, 8e-7), first_seed=9)
    assert line_of(compare(base, with_an_outlier)).error_ratio == pytest.approx(1.0)
    less_exact = line_of(compare(base, checks_run((9e-7, 1e-6), (8e-7, 1e-6), first_seed=9)))
    assert less_exact.error_ratio == pytest.approx(0.85 / 0.25)
    assert less_exact.less_exact
    same_draw = line_of(compare(base, checks_run((3e-7, 4e-7), (1e-7, 5e-7), first_seed=1)))
    assert same_draw.error_ratio == pytest.approx(3.0)


def test_no_error_in_base_has_no_ratio() -> None:
    found = compare(error_run(0.0), error_run(1e-7))
    assert (line_of(found).error_ratio, found.regressed) == (None, False)


def test_an_error_without_end_in_base_is_no_ground_for_an_alarm() -> None:
    base = a_run({"eager": STEADY}, a_check(CASE, "eager", error=None))
    found = compare(base, a_run({"eager": STEADY}))
    assert not found.regressed
