"""What every export is made of: the cells that have a time, under names that never change."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from reports.overview.remarks import footnotes
from reports.tables.cells import Group, measuring_conditions
from reports.tables.row import Row
from suite.failures import BadRequest
from suite.records.fingerprint import differences
from suite.records.record import RunHeader


class Point(NamedTuple):
    """One cell with its time, and the header of the first run that measured it."""

    header: RunHeader
    row: Row
    time_ms: float

    @property
    def name(self) -> str:
        """`case/variant`: the same at every commit and on every device."""
        return f"{self.row.case}/{self.row.variant}"

    @property
    def name_on_device(self) -> str:
        """`hardware key/case/variant`, where a format has no other place for the device."""
        return f"{self.row.hardware_key}/{self.name}"

    @property
    def start(self) -> datetime:
        """When the run began, in UTC where it doesn't say. Raises BadRequest for no time."""
        try:
            began = datetime.fromisoformat(self.header.started)
        except ValueError:
            raise BadRequest(
                f"export: a run began at {self.header.started!r}, which is no time; leave it out"
            ) from None
        return began if began.tzinfo else began.replace(tzinfo=UTC)

    @property
    def memory_bytes(self) -> int | None:
        """The most bytes that a call takes, and those held between calls, as in `choose`."""
        if self.row.peak_bytes is None or self.row.persistent_bytes is None:
            return None
        return self.row.peak_bytes + self.row.persistent_bytes


def points_of(groups: Sequence[Group]) -> list[Point]:
    """Return the cells that were measured. Raises BadRequest if there are none."""
    points = [
        Point(group.header, row, row.time_ms)
        for group in groups
        for row in group.rows
        if row.status == "measured" and row.time_ms is not None
    ]
    if not points:
        raise BadRequest("export: no cell of FILES has a time to export; `table` says why")
    return points


def cautions_of(groups: Sequence[Group]) -> list[str]:
    """Return how many cells have no time and why, then which times are not to be trusted."""
    rows = [row for group in groups for row in group.rows]
    without = [row for row in rows if row.status != "measured"]
    noisy = [f"{row.case}/{row.variant}" for row in rows if row.contradictory]
    cautions = []
    if without:
        cautions.append(
            f"{len(without)} of {len(rows)} cells are left out: they have no valid time"
        )
        cautions += [note.text for note in footnotes(without)]
    if noisy:
        cautions.append(f"{len(noisy)} of {len(rows)} cells are too noisy: {', '.join(noisy)}")
    return cautions


def refuse_several(groups: Sequence[Group], form: str) -> None:
    """Raise BadRequest if groups are of several devices, software, policies or commits.

    Their cells would have the same names.
    """
    if len(groups) > 1:
        first, second = groups[0].header, groups[1].header
        codes = [first.circumstances.code, second.circumstances.code]
        differing = differences(second, first)
        differing += [" and ".join(codes)] if codes[0] != codes[1] else []
        raise BadRequest(
            f"export --format {form} is of one run, and FILES are of {len(groups)}: "
            f"{'; '.join(differing) or 'packages of peers'}; export each alone"
        )


def conditions_digest(header: RunHeader) -> str:
    """Return eight hex digits that are equal if and only if runs are comparable."""
    return blake2b(measuring_conditions(header), digest_size=4).hexdigest()


def file_name(text: str) -> str:
    """Return a file's name for a text: another for each, and none that leads out of its folder.

    Results files are data from strangers, and `..` may be a variant's name.
    """
    return re.sub(
        r"[^A-Za-z0-9_.+-]|^\.", lambda odd: quote(odd[0], safe="").replace(".", "%2E"), text
    )


def json_text(value: object) -> str:
    """Return a value as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
