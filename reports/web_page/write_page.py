"""Writes a page into a folder: index.html, report.md, and the charts as SVG and PNG."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from reports.web_page.page_data import page_data
from suite.failures import BadRequest
from suite.quality.results import LengthsResults
from suite.records.store import Results
from variants.host.installation import install_command

if TYPE_CHECKING:
    from reports.web_page.charts.images import Picture

_PACKAGES = {"altair": "altair", "vl_convert": "vl-convert-python"}
_NAMES = ("index.html", "report.md", "charts")
_MARK = b'name="generator" content="alibi-bench page"'


def check_extra() -> None:
    """Raise BadRequest, with the command that installs it, if the extra `report` is missing."""
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        command = install_command("report", *_PACKAGES.values())
        raise BadRequest(f"a page needs {' and '.join(missing)}: {command}")


def check_folder(folder: Path, option: str) -> None:
    """Raise BadRequest if a page may not be written into `folder`, which need not be there.

    An older page there is written over, and nothing else.
    """
    if folder.exists() and not folder.is_dir():
        raise BadRequest(f"{option} {folder}: not a folder; name a new one")
    present = [name for name in _NAMES if (folder / name).exists()]
    index = folder / "index.html"
    is_ours = index.is_file() and _MARK in index.read_bytes()[:4096]
    if present and not is_ours:
        raise BadRequest(
            f"{option} {folder}: its {present[0]} is no page of this program; name a new folder"
        )


def write_page(
    files: Sequence[Results], folder: Path, of_lengths: Sequence[LengthsResults] = ()
) -> list[Path]:
    """Write the page of results files into a folder; return the files, index.html first.

    `of_lengths` are files of `lengths`. Raises BadRequest for files that have nothing to show, and
    OSError where the folder can't be written.
    """
    data = page_data(files, of_lengths)  # refuses before packages for charts are imported

    from reports.web_page.charts.history_images import history_pictures
    from reports.web_page.charts.images import pictures
    from reports.web_page.index_page import index_page
    from reports.web_page.quality.quality_images import quality_pictures
    from reports.web_page.report_markdown import report_markdown

    contents = {"index.html": index_page(data).encode()}
    of_races = pictures(data.cells, data.looks, data.first, data.first_length) if data.first else ()
    of_history = history_pictures(data.history) if data.history else ()
    of_quality = quality_pictures(data.quality) if data.quality else ()
    names = [_add(contents, each) for each in (*of_races, *of_history)]
    quality_names = [_add(contents, each) for each in of_quality]
    contents["report.md"] = report_markdown(data, names, quality_names).encode()
    (folder / "charts").mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def _add(contents: dict[str, bytes], picture: "Picture") -> tuple[str, str]:
    """Add a picture's files; return its title and the path that report.md names."""
    contents[f"charts/{picture.name}.svg"] = picture.svg.encode()
    contents[f"charts/{picture.name}.png"] = picture.png
    return picture.title, f"charts/{picture.name}.svg"
