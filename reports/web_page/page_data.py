"""All that a page is made of, as plain values: cells, answers, looks, facts of each setup, a
history if the files are one, and the quality that files of `lengths` tell."""

from collections.abc import Iterator, Sequence

import msgspec

from reports.tables.conditions import caution, conditions, distrust
from reports.web_page.answers import ViewAnswer, answers_of
from reports.web_page.charts.looks import Look, looks_of
from reports.web_page.over_time.page_history import PageHistory, page_history
from reports.web_page.page_cells import (
    PageCell,
    View,
    cells_of_setup,
    first_view,
    in_order,
    trade_off_length,
    view_of,
)
from reports.web_page.quality.page_quality import PageQuality, page_quality
from reports.web_page.setups import Setup, setups
from suite.failures import BadRequest
from suite.quality.results import LengthsResults
from suite.records.store import Results

_RACES = "Which ALiBi attention backend is fastest"
_QUALITY_ALONE = "What ALiBi buys: trained short, tested long"


class SetupFacts(msgspec.Struct, frozen=True):
    """The fingerprint of a setup: (name, value) of each fact; its conditions and what is unsure."""

    name: str
    conditions: str
    cautions: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


class PageData(msgspec.Struct, frozen=True):
    """A page before it has a form. `first` and `first_length` are what it shows as it opens.

    A page of files of `lengths` alone has no cells and None for `first`.
    """

    cells: list[PageCell]
    answers: list[ViewAnswer]
    looks: list[Look]
    setups: list[SetupFacts]
    first: View | None
    first_length: int
    history: PageHistory | None
    quality: PageQuality | None

    @property
    def heading(self) -> str:
        """The first heading of the page."""
        return _RACES if self.cells else _QUALITY_ALONE


def page_data(files: Sequence[Results], of_lengths: Sequence[LengthsResults] = ()) -> PageData:
    """Return the page's values of results files of races and of `lengths`.

    Raises BadRequest if races have no cell, for a file of pairs or a second file of one run, and
    for a file of `lengths` in which no model was tested.
    """
    alike = setups(files)
    cells = in_order([cell for setup in alike for cell in cells_of_setup(setup)])
    if not cells and (files or not of_lengths):
        names = ", ".join(str(file.path) for file in files)
        raise BadRequest(f"page: no cell in {names}; give results files of a run")
    first = first_view(cells) if cells else None
    shown = [cell for cell in cells if view_of(cell) == first]
    return PageData(
        cells=cells,
        answers=answers_of(cells, {setup.name: distrust(setup.group) for setup in alike}),
        looks=looks_of(cells),
        setups=[_facts(setup) for setup in alike],
        first=first,
        first_length=trade_off_length(shown) if shown else 0,
        history=page_history(files, alike, cells) if files else None,
        quality=page_quality(of_lengths, alike),
    )


def _facts(setup: Setup) -> SetupFacts:
    older = setup.older_cells
    commits = f"{older} cells were measured by several commits; of each the newest counts"
    cautions = [caution(setup.group), commits if older else ""]
    return SetupFacts(
        setup.name,
        conditions(setup.group),
        tuple(line for line in cautions if line),
        tuple((name, " / ".join(dict.fromkeys(values))) for name, values in _values(setup)),
    )


def _values(setup: Setup) -> Iterator[tuple[str, list[str]]]:
    """Yield each fact's name with its value in each file of the setup."""
    headers = setup.headers
    yield "hardware key", [each.hardware.key for each in headers]
    yield "device", [each.hardware.name for each in headers]
    software = {name: v for each in headers for name, v in each.software.items()}
    for name, version in software.items():
        yield name, [version]
    yield "threads", [str(each.policy.threads) for each in headers]
    yield "malloc", [_words(each.policy.malloc) for each in headers]
    yield "OMP_WAIT_POLICY", [each.policy.omp_wait_policy for each in headers]
    yield "clock", [each.policy.clock for each in headers]
    yield "input sets", [str(each.policy.input_sets) for each in headers]
    around = [each.circumstances for each in headers]
    yield "Python", [each.python for each in around]
    yield "kernel", [each.kernel for each in around]
    yield "container", ["yes" if each.container else "no" for each in around]
    yield "governor", [each.governor for each in around]
    yield "load before", [f"{each.load_1m:g}" for each in around]
    yield "code", [each.code for each in around]
    yield "started", [each.started for each in headers]
    if any(each.gpu for each in around):
        yield "GPU", [_words(each.gpu) for each in around]


def _words(values: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items()) or "default"
