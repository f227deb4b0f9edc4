"""The spread of devices of one model in words; an outlier with its clocks and what lowered them."""

import msgspec

from reports.pages.siblings import siblings_text
from suite.records.record import Time
from suite.records.store import Results
from tests.reports.tables.test_siblings import CASES, a_file


def at_low_clock(file: Results) -> Results:
    """Return a file whose times were measured at a low clock."""
    low = {"sm_clock_mhz": (1200, 1400), "slowed_by": ("power cap", "thermal, driver")}
    records = [
        msgspec.structs.replace(record, **low, throttled=1) if isinstance(record, Time) else record
        for record in file.records
    ]
    return file._replace(records=records)


def test_an_outlier_is_named_with_its_clocks_and_reasons() -> None:
    files = [a_file("aaaa", 1.0), at_low_clock(a_file("bbbb", 1.08)), a_file("cccc", 1.01)]
    assert siblings_text(files, 200).splitlines() == [
        "3 units of cpu-invented-2cores differ by 8.0% (the middle of 3 shared cells or limits):",
        "- aaaa 1.000x (aaaa.jsonl)",
        "- cccc 1.010x (cccc.jsonl)",
        "- bbbb 1.080x (bbbb.jsonl): an outlier; SM clock 1200 to 1400 MHz, lowered by power cap "
        "and thermal, driver, 3 turns throttled",
    ]
    assert max(map(len, siblings_text(files, 80).splitlines())) <= 80


def test_one_unit_has_nobody_to_be_compared_with() -> None:
    assert siblings_text([a_file("a", 1.0), a_file("a", 1.3)], 80) == ""


def test_units_without_a_shared_figure_are_not_compared() -> None:
    files = [a_file("a", 1.0, cases=CASES[:1]), a_file("b", 9.0, cases=CASES[1:])]
    assert "share no figure, so they can't be compared" in siblings_text(files, 200)
