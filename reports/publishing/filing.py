"""Where a results file is filed: its name, its folder, and the pages and selection made from it.

A device's folder under results/published/ is named by its hardware key, and has its results files,
a table beside each, an index and a picture; selections/ has a file for each device.
"""

import filecmp
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from reports.choosing import write_selection
from reports.choosing.candidates import Rules
from reports.choosing.choose import choose
from reports.generated.write import device_pages
from reports.text.paragraph import paragraph
from reports.text.screen import Screen
from suite.cases.sweeps import SWEEPS
from suite.failures import BadRequest
from suite.records.store import Results, read
from variants.selection.files import path_of
from variants.selection.schema import Selection


class Filing(NamedTuple):
    """New results files of one device, and what else changes with them.

    `sources` has for each new file's place where it is now; `pages` has texts by path.
    """

    sources: dict[Path, Path]
    pages: dict[Path, str]
    selection: Selection
    selection_path: Path

    def write(self) -> None:
        """Copy the results files to their places, and write pages and selection."""
        for path, source in self.sources.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, path)
        for path, text in self.pages.items():
            path.write_text(text)
        write_selection.write(self.selection_path, self.selection)


def device_folder(root: Path, results: Results) -> Path:
    """Return the folder of a file's device in the checkout `root`."""
    return root / "results" / "published" / results.header.hardware.key


def name_of(results: Results) -> str | None:
    """Return the name of the sweep whose cases a file's plan has; None where there is no such.

    On a GPU without bfloat16 a sweep has float16 in its place.
    """
    planned = set(results.header.plan.cases)
    for name, sweep in SWEEPS.items():
        half = sweep.in_half("float16")
        if planned in (set(sweep.cases()), set(half.cases())):
            return name
    return None


def filings(files: Sequence[Results], name: str | None, root: Path) -> list[Filing]:
    """Return what filing results files in the checkout `root` changes, for each device.

    They are named by `name`, or by their sweeps. Writes nothing. Raises BadRequest for a name that
    can't be used or is taken, where none can be told, and where nothing can be chosen from a file.
    """
    placed: dict[Path, Results] = {}
    for results in files:
        path = _place(results, name, root)
        if path in placed:
            both = f"{placed[path].path} and {results.path}"
            raise BadRequest(f"{both} would both be {path.name}; publish each with its own --name")
        placed[path] = results
    by_folder: dict[Path, dict[Path, Results]] = {}
    for path, results in placed.items():
        by_folder.setdefault(path.parent, {})[path] = results
    return [_filing(folder, new, root) for folder, new in by_folder.items()]


def _place(results: Results, name: str | None, root: Path) -> Path:
    """Return the path at which a file is published. Raises BadRequest for a name that won't do."""
    name = name or name_of(results)
    if name is None:
        raise BadRequest(
            f"{results.path}: its cases are of no sweep; say what they are, such as --name decode"
        )
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,59}", name):
        raise BadRequest(f"--name {name}: give small letters, digits and hyphens, up to 60")
    path = device_folder(root, results) / f"{name}.jsonl"
    if path.exists():
        there = path.relative_to(root)
        raise BadRequest(f"{there} is there already; give another name, such as --name {name}-2")
    return path


def _filing(folder: Path, new: Mapping[Path, Results], root: Path) -> Filing:
    moved = [results._replace(path=path) for path, results in new.items()]
    files = sorted([*published_files(folder), *moved], key=lambda it: it.path)
    return Filing(
        sources={path: results.path for path, results in new.items()},
        pages=device_pages(folder, files),
        selection=choose(files, Rules()).selection,
        selection_path=path_of(root / "selections", folder.name),
    )


def filed_text(filing: Filing, root: Path, screen: Screen) -> str:
    """Return in lines which files of the checkout `root` a filing wrote."""
    names = sorted(path.name for path in filing.pages)
    lines = [
        *(f"Published: {path.relative_to(root)}" for path in filing.sources),
        f"Pages beside it: {', '.join(names)}",
        f"Selection: {filing.selection_path.relative_to(root)}",
    ]
    return "\n".join(paragraph(line, screen.width, "  ") for line in lines)


def filed_as(results: Results, root: Path) -> Path | None:
    """Return the published file of a device that has the same bytes; None if there is none.

    It may be the file itself.
    """
    places = sorted(device_folder(root, results).glob("*.jsonl"))
    same = (path for path in places if filecmp.cmp(path, results.path, shallow=False))
    return next(same, None)


def published_files(folder: Path) -> list[Results]:
    """Return the results files that a device's folder has, by name; none where it is not there."""
    return [read(path) for path in sorted(folder.resolve().glob("*.jsonl"))]
