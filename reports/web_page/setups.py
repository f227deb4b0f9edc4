"""Setups: results that may be read together, each with a name of its own for people.

A setup is a hardware key with its software and policy. Setups stand side by side on a page.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reports.tables.cells import Group, fold
from reports.tables.newest import newest
from reports.tables.row import Row
from suite.records.fingerprint import differences, software_of_ours
from suite.records.record import RunHeader
from suite.records.store import Results


class Setup(NamedTuple):
    """Comparable results, each cell of its newest code; `older_cells` have older records too."""

    name: str
    group: Group
    headers: list[RunHeader]
    older_cells: int

    @property
    def rows(self) -> list[Row]:
        """The rows of the setup's table."""
        return self.group.rows


def setups(files: Sequence[Results]) -> list[Setup]:
    """Return the setups of results files, in the order of the files."""
    alike: list[list[Results]] = []
    for file in files:
        members = next((each for each in alike if _may_join(file, each)), None)
        if members is None:
            alike.append([file])
        else:
            members.append(file)
    names = _names([members[0].header for members in alike])
    return [_setup(name, members) for name, members in zip(names, alike, strict=True)]


def _may_join(file: Results, members: Sequence[Results]) -> bool:
    """Whether a file differs from no member; peers that only one of the two has don't count."""
    return not any(differences(file.header, member.header) for member in members)


def _setup(name: str, members: Sequence[Results]) -> Setup:
    remaining = newest(members)
    headers = [member.header for member in members]
    return Setup(name, fold(remaining.files), headers, remaining.older_cells)


def _names(headers: Sequence[RunHeader]) -> list[str]:
    """Return the device's name, with what tells apart two setups of the same name."""
    names = [header.hardware.name for header in headers]
    for words in (_software_words, _key_words, _policy_words):
        repeated = {name for name in names if names.count(name) > 1}
        pairs = zip(names, headers, strict=True)
        names = [f"{name}, {words(it)}" if name in repeated else name for name, it in pairs]
    repeated = {name for name in names if names.count(name) > 1}
    return list(_count_repeats(names, repeated))


def _count_repeats(names: Sequence[str], repeated: set[str]) -> Iterator[str]:
    for number, name in enumerate(names, start=1):
        yield f"{name} ({number})" if name in repeated else name


def _software_words(header: RunHeader) -> str:
    software = software_of_ours(header)
    return " ".join(f"{name} {v}" for name, v in software.items() if v != "absent")


def _key_words(header: RunHeader) -> str:
    return header.hardware.key


def _policy_words(header: RunHeader) -> str:
    return f"{header.policy.threads} threads"
