"""The results file: JSON lines, appended whole; a reader reports each damaged line."""

import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from suite.cases.case import Case
from suite.failures import BadRequest, RunFailed
from suite.kernels.user_kernels import check_name
from suite.records.limits import printable, printable_text
from suite.records.record import (
    SCHEMA,
    Agreement,
    Fault,
    Pair,
    Record,
    RunHeader,
    Time,
    Versus,
)

_encoder = msgspec.json.Encoder()
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


class StoreError(BadRequest):
    """A results file that can't be used; the text says which file, why and what to do."""


class NotWritten(RunFailed):
    """A record that could not be written: the disk is full or gone."""


class Results(NamedTuple):
    """The content of a results file: its header, all records in order, and warnings of damage."""

    path: Path
    header: RunHeader
    records: list[Record]
    warnings: list[str]

    def finished_cells(self) -> frozenset[tuple[Case, str, int]]:
        """Return the cells (case, variant, pass) that have a time, a fault or a disagreement."""
        cells: set[tuple[Case, str, int]] = set()
        for record in self.records:
            match record:
                case Time() | Fault():
                    cells.add((record.case, record.variant, record.pass_number))
                case Agreement(agrees=False):
                    cells.add((record.case, record.variant, record.pass_number))
        return frozenset(cells)

    def missing(self) -> int:
        """Return how many cells of the plan, each once a pass, have not ended."""
        plan = self.header.plan
        return len(plan.cases) * len(plan.variants) * plan.passes - len(self.finished_cells())

    def by_code(self) -> list["Results"]:
        """Return a part for each code that measured: its first header, and all of its records.

        A file has several codes only if it was resumed before that was refused.
        """
        return self._parts(lambda header: header.circumstances.code)

    def by_unit(self) -> list["Results"]:
        """Return a part for each unit of the hardware key that measured, as `by_code` does.

        A file has several units if a fleet lost one and completed the file on another.
        """
        return self._parts(lambda header: header.circumstances.unit)

    def _parts(self, mark: Callable[[RunHeader], str]) -> list["Results"]:
        part = Results(self.path, self.header, [], self.warnings)
        parts = {mark(part.header): part}
        for record in self.records:
            if isinstance(record, RunHeader):
                part = parts.setdefault(mark(record), Results(self.path, record, [], self.warnings))
            part.records.append(record)
        return list(parts.values())


def read(path: Path) -> Results:
    """Read a results file; leave damaged lines out and name them in `warnings`.

    Raises StoreError when there is no such file, or when it is no results file of this schema.
    """
    if path.exists() and not path.is_file():
        raise StoreError(f"{path}: not a regular file; name a results file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
    lines = [printable(line) for line in content.split(b"\n")]
    unfinished = lines.pop()
    header = _header(path, lines[0] if lines else unfinished)
    records, warnings = _decode(path, lines)
    if unfinished:
        warnings.append(f"{path}: the last line is unfinished and was left out")
    return Results(path, header, records, warnings)


def _header(path: Path, line: bytes) -> RunHeader:
    try:
        fields = msgspec.json.decode(line)
    except _UNREADABLE:
        fields = None
    if not isinstance(fields, dict) or fields.get("record") != "machine":
        raise StoreError(f"{path}: not a results file (its first line describes no machine)")
    if fields.get("schema") != SCHEMA:
        raise StoreError(
            f"{path}: schema {fields.get('schema')}, and this version reads schema {SCHEMA}: "
            "use the version that wrote it, or measure again"
        )
    try:
        return msgspec.convert(fields, RunHeader)
    except msgspec.ValidationError as error:
        raise StoreError(f"{path}: line 1: {printable_text(str(error))}") from None


def _decode(path: Path, lines: list[bytes]) -> tuple[list[Record], list[str]]:
    records: list[Record] = []
    warnings: list[str] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = _decoder.decode(line)
            check_name(getattr(record, "variant", "none"))
            records.append(record)
        except (*_UNREADABLE, ValueError) as error:
            reason = printable_text(str(error))[:160]
            warnings.append(f"{path}: line {number} is damaged and was left out ({reason})")
    return records, warnings


class Store:
    """A results file open for appending, locked against a second writer."""

    def __init__(self, path: Path) -> None:
        """Open `path`; make it and its folder if need be, and cut off an unfinished last line.

        Raises StoreError when the file can't be written or another run is writing it.
        """
        self.path = path
        if path.exists() and not path.is_file():
            raise StoreError(f"{path}: not a regular file; name a results file")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}: choose another --out") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            is_taken = isinstance(error, BlockingIOError)
            why = (
                "another run is writing to it"
                if is_taken
                else f"{error.strerror}: choose another --out"
            )
            raise StoreError(f"{path}: {why}") from None
        self._cut_unfinished_line()

    def _cut_unfinished_line(self) -> None:
        content = self.path.read_bytes()
        os.ftruncate(self._file, content.rfind(b"\n") + 1)

    def append(self, records: Iterable[msgspec.Struct]) -> None:
        """Write records in one piece, so that a kill leaves at most one unfinished line.

        Raises NotWritten when the disk is full or gone.
        """
        lines = b"".join(_encoder.encode(record) + b"\n" for record in records)
        try:
            while lines:
                lines = lines[os.write(self._file, lines) :]
        except OSError as error:
            reason = f"{self.path}: {error.strerror}; what is in it is kept"
            raise NotWritten(reason) from None

    def close(self) -> None:
        """Close the file, which releases its lock."""
        os.close(self._file)


def is_duel_record(record: Record) -> bool:
    """Whether a record can only come from a duel, not from a run."""
    return isinstance(record, Versus | Pair) or getattr(record, "side", "head") == "base"
