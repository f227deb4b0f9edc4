"""What files of `lengths` bring to a page, as plain values: answers, bits by length, and costs."""

from collections.abc import Iterator, Sequence

import msgspec

from reports.quality.costs import CostTable, cost_rows, costs_of_rows
from reports.quality.method_places import MULTIPLES, MethodPlace, places_at
from reports.quality.rows import Bits, QualityRow, rows_of
from reports.quality.table import MEASURES, QualityTable, conditions, failures, tables
from reports.web_page.quality.quality_answer import QualityAnswer, cost_answer, quality_answer
from reports.web_page.quality.quality_views import QualityView, views_of
from reports.web_page.setups import Setup
from suite.failures import BadRequest
from suite.quality.record import LengthsHeader
from suite.quality.results import LengthsResults
from variants.catalog import BASELINE

HEADING = "Quality beyond the trained length"


class QualityPoint(msgspec.Struct, frozen=True):
    """A test at a length: bits per byte by a measure, their mean over seeds, the least, the most.

    `series` is the name of its row.
    """

    series: str
    measure: str
    length: int
    bits: float
    low: float
    high: float
    seeds: int


class CostPoint(msgspec.Struct, frozen=True):
    """A method at `multiple` times its trained length: a prefill's cost, bits of the same targets.

    `ratio` is the time of `variant` over bias-free SDPA's, with the ends of its 95% interval;
    without an interval they are the ratio itself. `low` and `high` are ends over seeds.
    """

    series: str
    multiple: int
    length: int
    variant: str
    ratio: float
    ratio_low: float
    ratio_high: float
    bits: float
    low: float
    high: float


class SetupCosts(msgspec.Struct, frozen=True):
    """What the methods of a file cost in a setup: a sentence, all modes, and prefill by quality."""

    setup: str
    headline: str
    table: CostTable
    points: list[CostPoint]


class FileQuality(msgspec.Struct, frozen=True):
    """A file of `lengths`: its text's name, the answer, figures, what was measured, and costs."""

    name: str
    answer: QualityAnswer
    tables: list[QualityTable]
    points: list[QualityPoint]
    notes: list[str]
    costs: list[SetupCosts]


class PageQuality(msgspec.Struct, frozen=True):
    """The part of a page that files of `lengths` make; each view is of all files."""

    views: list[QualityView]
    files: list[FileQuality]


def page_quality(files: Sequence[LengthsResults], alike: Sequence[Setup]) -> PageQuality | None:
    """Return what files of `lengths` show, beside the costs that setups have; None without files.

    Raises BadRequest for a file in which no model was tested.
    """
    rows = [rows_of(file) for file in files]
    for file, own in zip(files, rows, strict=True):
        if not own:
            raise BadRequest(
                f"{file.path}: no model was tested yet; lengths --resume {file.path} goes on"
            )
    if not files:
        return None
    views = views_of([row for own in rows for row in own])
    named = zip(_names(files), files, rows, strict=True)
    return PageQuality(views, [_file(name, file, own, alike) for name, file, own in named])


def _names(files: Sequence[LengthsResults]) -> list[str]:
    """Return the name of each text, with the file's where two have one text."""
    names = [file.header.text_name for file in files]
    return [
        name if names.count(name) == 1 else f"{name}, {file.path.name}"
        for name, file in zip(names, files, strict=True)
    ]


def _file(
    name: str, file: LengthsResults, rows: Sequence[QualityRow], alike: Sequence[Setup]
) -> FileQuality:
    return FileQuality(
        name=name,
        answer=quality_answer(rows, file.header.design),
        tables=list(tables(file, "…")),
        points=[point for row in rows for point in _points(row)],
        notes=[*conditions(file), _where(file.header), *failures(file)],
        costs=[costs for setup in alike for costs in _costs(setup, file.header, rows)],
    )


def _points(row: QualityRow) -> Iterator[QualityPoint]:
    for measure in MEASURES:
        bits: Bits = getattr(row, measure)
        ends = (round(bits.mean, 5), round(bits.low, 5), round(bits.high, 5))
        yield QualityPoint(row.name, measure, row.length, *ends, len(bits.by_seed))


def _where(header: LengthsHeader) -> str:
    torch, code = header.software.get("torch", "unknown"), header.circumstances.code
    return f"Trained on {header.hardware.name}, torch {torch}, {header.started[:10]}, {code}."


def _costs(setup: Setup, header: LengthsHeader, rows: Sequence[QualityRow]) -> Iterator[SetupCosts]:
    """Yield the costs of a setup, if a method other than the baseline was raced in it."""
    design = header.design
    costs = costs_of_rows(setup.rows, design.lengths)
    if all(cost.variant == BASELINE.name for cost in costs):
        return
    trained_len = design.trained_len
    points = [
        _cost_point(multiple, place)
        for multiple in MULTIPLES
        for place in places_at(rows, costs, multiple * trained_len, trained_len)
    ]
    yield SetupCosts(setup.name, cost_answer(costs), cost_rows(costs), points)


def _cost_point(multiple: int, place: MethodPlace) -> CostPoint:
    cost, bits = place.cost, place.bits
    low, high = cost.interval or (cost.ratio, cost.ratio)
    return CostPoint(
        series=place.name,
        multiple=multiple,
        length=cost.length,
        variant=cost.variant,
        ratio=cost.ratio,
        ratio_low=low,
        ratio_high=high,
        bits=bits.mean,
        low=bits.low,
        high=bits.high,
    )
