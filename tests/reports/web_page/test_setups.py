"""Results that may be read together are one setup; others stand side by side."""

import msgspec
import pytest

from reports.web_page.setups import setups
from suite.records.record import RunHeader
from tests.records import a_case, a_cell, a_machine, a_plan, a_run, results


def test_files_of_one_device_are_one_setup_by_the_devices_name() -> None:
    files = [a_run({"no_bias": [2.0], "eager": [3.0]}), a_run({"no_bias": [2.0], "flex": [1.0]})]
    (setup,) = setups(files)
    assert setup.name == "Invented CPU, 2 cores"
    assert [row.variant for row in setup.rows] == ["no_bias", "eager", "flex"]


def test_another_hardware_key_stands_beside_it_and_its_times_stay_its_own() -> None:
    other = a_machine(a_plan(variants=["eager"]), key="cpu-other-2cores")
    files = [a_run({"eager": [3.0]}), a_run({"eager": [9.0]}, header=other)]
    first, second = setups(files)
    assert [row.time_ms for row in first.rows] == pytest.approx([3.0])
    assert [row.time_ms for row in second.rows] == pytest.approx([9.0])
    assert first.name != second.name
    assert "cpu-other-2cores" in second.name


@pytest.mark.parametrize(
    ("header", "words"),
    [(a_machine(torch="2.14.1"), "torch 2.14.1"), (a_machine(threads=1), "1 threads")],
)
def test_other_software_or_another_policy_stands_beside_it_and_is_named(
    header: RunHeader, words: str
) -> None:
    _, second = setups([a_run({"eager": [3.0]}), a_run({"eager": [9.0]}, header=header)])
    assert words in second.name


def test_a_run_with_a_peers_package_joins_but_two_versions_of_it_do_not_join() -> None:
    def with_jax(version: str) -> RunHeader:
        header = a_machine()
        return msgspec.structs.replace(header, software={**header.software, "jax": version})

    runs = [a_run({"eager": [3.0]}), a_run({"jax": [9.0]}, header=with_jax("0.10"))]
    assert len(setups(runs)) == 1
    assert len(setups([*runs, a_run({"jax": [8.0]}, header=with_jax("0.11"))])) == 2


def test_of_a_cell_that_two_commits_measured_the_newest_counts_and_is_counted() -> None:
    case = a_case()
    older, newer = (
        results(
            a_machine(a_plan(case, variants=["eager"]), commit=commit * 40, started=started),
            *a_cell(case, "eager", ms),
        )
        for commit, started, ms in (("a", "2026-01-01", 9.0), ("b", "2026-01-02", 3.0))
    )
    (setup,) = setups([newer, older])
    assert [row.time_ms for row in setup.rows] == pytest.approx([3.0])
    assert setup.older_cells == 1
