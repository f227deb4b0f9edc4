"""The formats by name: from results files to the texts of an export."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from reports.exports import asv, bencher, github_action, hud, otava, pytest_benchmark
from reports.exports.points import Point, cautions_of, points_of, refuse_several
from reports.tables.cells import groups
from suite.failures import BadRequest
from suite.records.store import Results, is_duel_record

FileFormat = Literal["pytest-benchmark", "github-action", "bencher", "hud"]
FolderFormat = Literal["otava", "asv"]

_WRITERS: dict[FileFormat, Callable[[Sequence[Point]], str]] = {
    "pytest-benchmark": pytest_benchmark.export,
    "github-action": github_action.export,
    "bencher": bencher.export,
    "hud": hud.export,
}


class FileExport(NamedTuple):
    """The text of one run's export, and what its reader has to be told."""

    text: str
    cautions: list[str]


class FolderExport(NamedTuple):
    """The texts of an export of many runs by path, and what their reader has to be told."""

    files: dict[str, str]
    cautions: list[str]


def export_file(files: Sequence[Results], form: FileFormat) -> FileExport:
    """Return one run in a format of one file.

    Raises BadRequest for files of pairs, of several runs, or without a time.
    """
    refuse_pairs(files)
    run = groups(files)
    refuse_several(run, form)
    return FileExport(_WRITERS[form](points_of(run)), cautions_of(run))


def export_folder(files: Sequence[Results], form: FolderFormat) -> FolderExport:
    """Return the history of all files in a format of many.

    Raises BadRequest for files of pairs, and if no time is left to export.
    """
    refuse_pairs(files)
    runs = groups(files)
    points = points_of(runs)
    if form == "otava":
        points, cautions = otava.with_policy_of_newest(points)
        texts = otava.export(points)
    else:
        points, cautions = asv.at_commits(points)
        texts = asv.export(points)
    return FolderExport(texts, [*cautions_of(runs), *cautions])


def refuse_pairs(files: Sequence[Results]) -> None:
    """Raise BadRequest if a file is of pairs, whose times are of two sides."""
    for file in files:
        if any(is_duel_record(record) for record in file.records):
            raise BadRequest(f"{file.path}: a file of pairs and no run's; `compare` shows it")
