"""The table of a file of lengths: bits per byte of each test at each length, mean of the seeds."""

from collections.abc import Sequence

import msgspec
from tabulate import tabulate

from reports.quality.rows import Bits, QualityRow, rows_of, title_of
from suite.quality.results import LengthsResults

MEASURES = {
    "by_windows": "All held-out text, cut into windows of the length",
    "on_same_targets": "The same last {last} tokens at every length, with more before them",
}


def render(results: LengthsResults, form: str) -> str:
    """Return a file as text: `form` is simple or github for people, json for programs."""
    rows = rows_of(results)
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(_fields(results, rows))).decode()
    if not rows:
        return f"{results.path}: no model was tested yet"
    parts = [_conditions(results)]
    for measure, words in MEASURES.items():
        parts.append(words.format(last=results.header.design.trained_len) + ":")
        parts.append(_table(results, rows, measure, form))
    parts += [f"Failed: {each.method}, seed {each.seed}: {each.reason}" for each in results.faults]
    return "\n\n".join(parts)


def _conditions(results: LengthsResults) -> str:
    header = results.header
    design, text = header.design, header.text
    seeds = {quality.seed for quality in results.qualities}
    spread = f"mean of {len(seeds)} seeds ± half of their range" if len(seeds) > 1 else "one seed"
    return "\n".join(
        [
            f"Bits per byte, less is better; {spread}.",
            f"Learned: {design.steps} steps of {design.batch} x {design.trained_len} tokens.",
            f"Text: {header.text_name}.",
            f"Tested on {text.windows} windows of {design.lengths[-1]} held-out tokens.",
        ]
    )


def _table(results: LengthsResults, rows: Sequence[QualityRow], measure: str, form: str) -> str:
    design = results.header.design
    by_test: dict[tuple[str, str], dict[int, QualityRow]] = {}
    for row in rows:
        name = title_of(row.test, design.tuned_len)
        by_test.setdefault((row.method.title, name), {})[row.length] = row
    lines = [
        [
            _indented(change, form) if change else title,
            *(_cell(cells.get(length), measure) for length in design.lengths),
        ]
        for (title, change), cells in by_test.items()
    ]
    return tabulate(lines, ["positions", *map(str, design.lengths)], form, disable_numparse=True)


def _indented(change: str, form: str) -> str:
    return f"- {change}" if form == "simple" else f"… {change}"


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
