"""What lies beside published files of lengths: tables, bits against length, quality against cost.

The races that say what attention costs are in `costs.jsonl` of the same folder.
"""

from pathlib import Path

from reports.quality.costs import cost_table, costs_of
from reports.quality.length_picture import length_picture
from reports.quality.picture import picture
from reports.quality.rows import rows_of
from reports.quality.table import render
from suite.quality.results import read
from suite.records.store import read as read_race

COSTS = "costs.jsonl"
PICTURE_FILE = "default.jsonl"


def pages(folder: Path) -> dict[Path, str]:
    """Return the generated files of a folder, and what belongs in them."""
    paths = [path for path in sorted(folder.glob("*.jsonl")) if path.name != COSTS]
    files = {path: read(path) for path in paths}
    texts = {path.with_suffix(".md"): render(file, "github") + "\n" for path, file in files.items()}
    if drawn := files.get(folder / PICTURE_FILE):
        rows, design = rows_of(drawn), drawn.header.design
        texts[drawn.path.with_suffix(".svg")] = length_picture(rows, design.trained_len)
        race = folder / COSTS
        if race.exists():
            costs = costs_of([read_race(race)], design.lengths)
            texts[folder / "quality.svg"] = picture(rows, costs, design.trained_len)
            texts[race.with_suffix(".md")] = cost_table(costs, "github") + "\n"
    return texts
