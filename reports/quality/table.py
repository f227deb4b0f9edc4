"""The table of a file of lengths: bits per byte of each test at each length, mean of the seeds."""

from collections.abc import Iterator, Sequence

import msgspec
from tabulate import tabulate

from reports.quality.rows import Bits, QualityRow, rows_of, title_of
from suite.quality.results import LengthsResults

MEASURES = {
    "by_windows": "All held-out text, cut into windows of the length",
    "on_same_targets": "The same last {last} tokens at every length, with more before them",
}


class QualityTable(msgspec.Struct, frozen=True):
    """Bits per byte by one measure in words: a row for each test, a column for each length."""

    measure: str
    title: str
    headers: list[str]
    rows: list[list[str]]


def render(results: LengthsResults, form: str) -> str:
    """Return a file as text: `form` is simple or github for people, json for programs."""
    rows = rows_of(results)
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(_fields(results, rows))).decode()
    if not rows:
        return f"{results.path}: no model was tested yet"
    parts = ["\n".join(conditions(results))]
    for table in tables(results, "-" if form == "simple" else "…"):
        parts.append(f"{table.title}:")
        parts.append(tabulate(table.rows, table.headers, form, disable_numparse=True))
    return "\n\n".join([*parts, *failures(results)])


def conditions(results: LengthsResults) -> list[str]:
    """Return what the figures are, and of which models and text, a sentence each."""
    header = results.header
    design, text = header.design, header.text
    seeds = {quality.seed for quality in results.qualities}
    spread = f"mean of {len(seeds)} seeds ± half of their range" if len(seeds) > 1 else "one seed"
    return [
        f"Bits per byte, less is better; {spread}.",
        f"Learned: {design.steps} steps of {design.batch} x {design.trained_len} tokens.",
        f"Text: {header.text_name}.",
        f"Tested on {text.windows} windows of {design.lengths[-1]} held-out tokens.",
    ]


def failures(results: LengthsResults) -> list[str]:
    """Return a line for each model whose process ended early."""
    return [f"Failed: {each.method}, seed {each.seed}: {each.reason}" for each in results.faults]


def tables(results: LengthsResults, indent: str) -> Iterator[QualityTable]:
    """Yield a table for each measure; `indent` marks what was tested in the model above it."""
    design, rows = results.header.design, rows_of(results)
    by_test: dict[tuple[str, str], dict[int, QualityRow]] = {}
    for row in rows:
        name = title_of(row.test, design.tuned_len)
        by_test.setdefault((row.method.title, name), {})[row.length] = row
    for measure, words in MEASURES.items():
        lines = [
            [
                f"{indent} {change}" if change else title,
                *(_cell(cells.get(length), measure) for length in design.lengths),
            ]
            for (title, change), cells in by_test.items()
        ]
        headers = ["positions", *map(str, design.lengths)]
        yield QualityTable(measure, words.format(last=design.trained_len), headers, lines)


def _cell(row: QualityRow | None, measure: str) -> str:
    if row is None:
        return ""
    bits: Bits = getattr(row, measure)
    spread = bits.half_range
    return f"{bits.mean:.3f}" + ("" if spread is None else f" ±{spread:.3f}".replace("0.", "."))


class _Fields(msgspec.Struct):
    """A row of the json format."""

    method: str
    change: str
    tuned: bool
    length: int
    by_windows: float
    on_same_targets: float
    by_windows_of_seeds: dict[int, float]
    on_same_targets_of_seeds: dict[int, float]


def _fields(results: LengthsResults, rows: Sequence[QualityRow]) -> dict[str, object]:
    return {
        "design": results.header.design,
        "text": results.header.text_name,
        "rows": [
            _Fields(
                row.method.name,
                *row.test,
                row.length,
                round(row.by_windows.mean, 5),
                round(row.on_same_targets.mean, 5),
                {seed: round(bits, 5) for seed, bits in row.by_windows.by_seed.items()},
                {seed: round(bits, 5) for seed, bits in row.on_same_targets.by_seed.items()},
            )
            for row in rows
        ],
    }
