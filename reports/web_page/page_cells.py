"""The cells of a page: rows of the tables with the words that its filters and charts show."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from reports.tables.columns import RANK, length_of, mode_of
from reports.tables.row import Row
from reports.tables.table import by, shape_of
from reports.web_page.cell_command import command_for, models_of
from reports.web_page.setups import Setup
from suite.cases.case import DTYPES, MODES
from suite.records.record import RunHeader

_FIELDS = (
    "case",
    "kv_len",
    "dtype",
    "variant",
    "answers",
    "status",
    "reason",
    "time_ms",
    "time_ci_ms",
    "vs_no_bias",
    "vs_no_bias_ci",
    "rank",
    "gemm_share",
    "copy_share",
    "peak_bytes",
    "persistent_bytes",
    "error",
    "error_budget",
    "density",
    "samples",
    "passes",
    "disturbed",
    "code",
)
"""The fields that a page's cells have from `table --format json`, by the same names."""


class PageCell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row of the tables, as far as a page shows it. An absent figure is left out of its JSON.

    - `setup`, `model`, `mode` and `dtype` are the filters; `mode` has whatever else sets a case
      apart, so that a variant has one cell at each `kv_len`.
    - `peak_mib` is `peak_bytes` over 2^20, `budget_share` the error over its budget.
    - `place` is the text of the tables' last column; `command` measures the cell again.
    """

    setup: str
    model: str
    mode: str
    dtype: str
    length: str
    kv_len: int
    case: str
    variant: str
    answers: str
    status: str
    place: str
    code: str
    command: str | None = None
    reason: str | None = None
    time_ms: float | None = None
    time_ci_ms: tuple[float, float] | None = None
    vs_no_bias: float | None = None
    vs_no_bias_ci: tuple[float, float] | None = None
    rank: int | None = None
    gemm_share: float | None = None
    copy_share: float | None = None
    peak_bytes: int | None = None
    peak_mib: float | None = None
    persistent_bytes: int | None = None
    error: float | None = None
    error_budget: float | None = None
    budget_share: float | None = None
    density: float | None = None
    samples: int = 0
    passes: int = 0
    disturbed: int = 0


class View(NamedTuple):
    """What the filters set at a time, in each setup: a model's attention, a mode and a dtype."""

    model: str
    mode: str
    dtype: str


def cells_of_setup(setup: Setup) -> list[PageCell]:
    """Return a setup's rows as cells of a page, in the order of its tables."""
    return [_cell(setup, row, _header_of(setup, row)) for row in setup.rows]


def in_order(cells: Sequence[PageCell]) -> list[PageCell]:
    """Return cells so that filters and maps name what has the most cells first.

    Setups stay in their order. The modes are forward, backward and decode.
    """
    setups = list(dict.fromkeys(cell.setup for cell in cells))
    counts = Counter(cell.model for cell in cells)

    def key(cell: PageCell) -> tuple[object, ...]:
        mode = MODES.index(cell.mode.partition(",")[0]), cell.mode
        dtype = DTYPES.index(cell.dtype)
        return setups.index(cell.setup), -counts[cell.model], cell.model, mode, dtype

    return sorted(cells, key=key)


def view_of(cell: PageCell) -> View:
    """Return the filters' values that show a cell."""
    return View(cell.model, cell.mode, cell.dtype)


def first_view(cells: Iterable[PageCell]) -> View:
    """Return what a page shows at first: the view with the most measured ALiBi cells.

    Raises ValueError if there is no cell.
    """
    counts: dict[View, int] = {}
    for cell in cells:
        counted = cell.answers == "alibi" and cell.status == "measured"
        counts[view_of(cell)] = counts.get(view_of(cell), 0) + counted
    return max(counts, key=lambda view: counts[view])


def trade_off_length(cells: Sequence[PageCell]) -> int:
    """Return the longest of the lengths at which the most cells have time, memory and error."""
    whole = [cell for cell in cells if cell.time_ms and cell.peak_bytes and cell.error]
    by_length = by(lambda cell: cell.kv_len, whole or cells)
    return max(by_length, key=lambda length: (len(by_length[length]), length))


def _cell(setup: Setup, row: Row, header: RunHeader) -> PageCell:
    return PageCell(
        setup=setup.name,
        model=_model(row),
        mode=_mode(row),
        length=length_of(row),
        place=RANK.shows(row),
        command=command_for(row, header),
        peak_mib=None if row.peak_bytes is None else row.peak_bytes / 2**20,
        budget_share=row.error / row.error_budget if row.error and row.error_budget else None,
        **{name: getattr(row, name) for name in _FIELDS},
    )


def _header_of(setup: Setup, row: Row) -> RunHeader:
    """Return the header of the run that planned a row's variant; the newest of several."""
    headers = [each for each in setup.headers if row.variant in each.plan.variants]
    return headers[-1] if headers else setup.headers[-1]


def _model(row: Row) -> str:
    """Return the attention in words, with the models that have it."""
    names = models_of(row)
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    known = f" ({', '.join(names[:2])}{more})" if names else ""
    return shape_of(row).removeprefix("Batch 1, ") + known


def _mode(row: Row) -> str:
    """Return the mode with all that sets a case apart from others of its `kv_len`."""
    if row.seq_lens:
        return f"{mode_of(row)}, {length_of(row)}"
    if row.q_len == (1 if row.mode == "decode" else row.kv_len):
        return mode_of(row)
    return f"{mode_of(row)}, {row.q_len} queries"
