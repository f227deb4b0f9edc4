"""Invented tunings: results files in which each variant takes so long at each length."""

from collections.abc import Mapping, Sequence

import msgspec

from reports.choosing.candidates import Rules
from reports.choosing.choose import NewSelection, choose
from suite.cases.case import Case
from suite.records.record import Record, RunHeader
from suite.records.store import Results
from tests.records import a_case, a_cell, a_machine, a_memory, a_plan, results
from variants.selection.schema import Choice, Selection

Times = Mapping[str, Mapping[int, float | Sequence[float]]]
"""By variant and length: milliseconds in each of three passes, or in all of them."""

SURE = (1.0, 1.001, 0.999)


def case_of(length: int) -> Case:
    """Return the case of a length, in bfloat16."""
    return a_case(length, "bfloat16")


def tuning(times: Times, *others: Record, header: RunHeader | None = None) -> Results:
    """Return the file of a run whose baseline takes a millisecond in every pass."""
    lengths = list(dict.fromkeys(length for own in times.values() for length in own))
    plan = a_plan(*map(case_of, lengths), variants=["no_bias", *times], passes=3)
    records: list[Record] = []
    for variant, own in ({"no_bias": dict.fromkeys(lengths, 1.0)} | dict(times)).items():
        for length, ms in own.items():
            passes = [ms * each for each in SURE] if isinstance(ms, float | int) else ms
            for number, each in enumerate(passes, start=1):
                records += a_cell(case_of(length), variant, each, number)
    header = msgspec.structs.replace(header or a_machine(), plan=plan)
    return results(header, *records, *others)


def memories(bytes_by_variant: Mapping[str, int], length: int = 512) -> list[Record]:
    """Return what each variant took at its peak; each keeps a mebibyte beside it."""
    return [
        a_memory(case_of(length), name, peak_bytes=peak) for name, peak in bytes_by_variant.items()
    ]


def select(
    *files: Results, before: Selection | None = None, rules: Rules | None = None
) -> NewSelection:
    """Choose from files."""
    return choose(files, rules or Rules(), before)


def the_choice(
    *files: Results, before: Selection | None = None, rules: Rules | None = None
) -> Choice:
    """Return the only choice of files that have one problem."""
    (choice,) = select(*files, before=before, rules=rules).selection.choices
    return choice
