"""A file of lengths, read: its lines by kind, and warnings of damage."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from suite.quality.design import LengthTest
from suite.quality.methods import PositionMethod
from suite.quality.record import SCHEMA, LengthsHeader, ModelFault, Quality, QualityRecord, Training
from suite.records.limits import printable, printable_text
from suite.records.store import StoreError

_decoder: msgspec.json.Decoder[QualityRecord] = msgspec.json.Decoder(QualityRecord)


class LengthsResults(NamedTuple):
    """The content of a file of lengths."""

    path: Path
    header: LengthsHeader
    trainings: list[Training]
    qualities: list[Quality]
    faults: list[ModelFault]
    warnings: list[str]

    def tests_done(self, method: PositionMethod, seed: int) -> frozenset[LengthTest]:
        """Return the tests of a model that are there at every length of the design."""
        lengths: dict[LengthTest, set[int]] = {}
        for quality in self.qualities:
            if (quality.method, quality.seed) == (method.name, seed):
                lengths.setdefault(quality.test, set()).add(quality.length)
        wanted = set(self.header.design.lengths)
        return frozenset(test for test, there in lengths.items() if there >= wanted)

    def is_trained(self, method: PositionMethod, seed: int) -> bool:
        """Whether the file says that a model has learned."""
        return any(
            (each.method, each.seed, each.tuned) == (method.name, seed, False)
            for each in self.trainings
        )


def read(path: Path) -> LengthsResults:
    """Read a file of lengths; leave damaged lines out and name them in `warnings`.

    A test that was interrupted between two lengths is done anew by --resume: its newer lines count.
    Raises StoreError where there is no such file, and for what is no file of lengths.
    """
    records, warnings = _records_of(path)
    header = records[0] if records else None
    if not isinstance(header, LengthsHeader) or header.schema != SCHEMA:
        raise StoreError(
            f"{path}: not a file of `lengths`, schema {SCHEMA}; name one, or train without --resume"
        )
    qualities, strays = _of_the_windows(records, header.text.windows)
    warnings += [
        f"{path}: a test of {each.method}, seed {each.seed}, at {each.length} was left out "
        f"({len(each.by_windows)} windows, and the text has {header.text.windows})"
        for each in strays
    ]
    return LengthsResults(
        path,
        header,
        _newest_trainings(records),
        _newest_qualities(qualities),
        [record for record in records if isinstance(record, ModelFault)],
        warnings,
    )


def _records_of(path: Path) -> tuple[list[QualityRecord], list[str]]:
    """Return the records in a file's lines, none if the first is none, and warnings of damage.

    Raises StoreError where there is no such file.
    """
    try:
        lines = [printable(line) for line in path.read_bytes().split(b"\n")]
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
    warnings = []
    if lines.pop():
        warnings.append(f"{path}: the last line is unfinished and was left out")
    records: list[QualityRecord] = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if number == 1:
                break
            reason = printable_text(str(error))[:160]
            warnings.append(f"{path}: line {number} is damaged and was left out ({reason})")
    return records, warnings


def is_of_lengths(path: Path) -> bool:
    """Whether the first line of a file says that it is of `lengths`; false where there is none."""
    try:
        with path.open("rb") as file:
            fields = msgspec.json.decode(file.readline())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(fields, dict) and fields.get("record") == "lengths"


def _newest_trainings(records: Iterable[QualityRecord]) -> list[Training]:
    trainings = [record for record in records if isinstance(record, Training)]
    return list({(t.method, t.seed, t.change, t.tuned): t for t in trainings}.values())


def _newest_qualities(qualities: Iterable[Quality]) -> list[Quality]:
    return list({(q.method, q.seed, q.test, q.length): q for q in qualities}.values())


def _of_the_windows(
    records: Iterable[QualityRecord], windows: int
) -> tuple[list[Quality], list[Quality]]:
    """Return the tests that have the bits of so many windows, and those that don't."""
    qualities = [record for record in records if isinstance(record, Quality)]
    fit = [each for each in qualities if len(each.by_windows) == windows]
    return fit, [each for each in qualities if len(each.by_windows) != windows]
