"""Write what `make docs` writes: docs/variants.md, peers.md, reach.svg, schemas/, devices' indexes.

    python -m reports.generated.write

A device is a folder of results/published/. It gets README.md, ratio.svg, and a table beside each
results file. So do the files of `lengths` in results/lengths/.
"""

from collections.abc import Sequence
from pathlib import Path

from reports.exports.schemas import DOCUMENTS, schema_text
from reports.generated import peers_page, reach, variants_page
from reports.generated.published_index import index
from reports.generated.ratio_picture import picture
from reports.overview.github import page
from reports.quality import published_pages
from reports.tables.cells import groups
from reports.tables.newest import groups_of_newest
from reports.tables.row import Row
from suite.conditions.policy import ROOT
from suite.records.store import Results, read
from variants.catalog import AUTO

PUBLISHED = ROOT / "results" / "published"
USUAL_SHAPE = (8, 8, 64)
LENGTHS = ROOT / "results" / "lengths"


def main() -> None:
    """Write every generated file anew."""
    (ROOT / "docs" / "variants.md").write_text(variants_page.page())
    (ROOT / "docs" / "peers.md").write_text(peers_page.page())
    (ROOT / "docs" / "reach.svg").write_text(reach.picture())
    for document in DOCUMENTS:
        (ROOT / "docs" / "schemas" / f"{document}.json").write_text(f"{schema_text(document)}\n")
    for folder in sorted(path for path in PUBLISHED.iterdir() if path.is_dir()):
        for path, text in pages(folder).items():
            path.write_text(text)
    for path, text in published_pages.pages(LENGTHS).items():
        path.write_text(text)


def pages(folder: Path) -> dict[Path, str]:
    """Return the generated files of one device's folder and what belongs in them."""
    return device_pages(folder, [read(path) for path in sorted(folder.glob("*.jsonl"))])


def device_pages(folder: Path, files: Sequence[Results]) -> dict[Path, str]:
    """Return the generated files of a device's folder, whose results files are `files`."""
    texts = {file.path.with_suffix(".md"): page(groups([file])) + "\n" for file in files}
    texts[folder / "README.md"] = index(files)
    texts[folder / "ratio.svg"] = picture(usual_rows(files), _title(files))
    return texts


def usual_rows(files: Sequence[Results]) -> list[Row]:
    """Return the rows that are drawn: of the drawn shape, causal, logit scale 1, without auto.

    Those of the newest group come first, so that peers are drawn beside what they raced with.
    """
    shape = drawn_shape(files)
    newest_first = sorted(
        groups_of_newest(files), key=lambda group: group.header.started, reverse=True
    )
    return [
        row
        for group in newest_first
        for row in group.rows
        if (row.heads, row.kv_heads, row.head_dim) == shape
        and (row.batch, row.causal, row.logit_scale, row.layout) == (1, True, 1.0, "bhnd")
        and row.q_len == (1 if row.mode == "decode" else row.kv_len)
        and not (row.seq_lens or row.window or row.recording)
        and row.variant != AUTO.name
    ]


def drawn_shape(files: Sequence[Results]) -> tuple[int, int, int]:
    """Return the heads, kv heads and head_dim that a device's picture is of.

    They are those of most pictures, 8 heads of 64, or else those of the device's first case: a GPU
    publishes the shapes of models.
    """
    cases = [case for file in files for case in file.header.plan.cases]
    shapes = [(case.heads, case.kv_heads, case.head_dim) for case in cases]
    return USUAL_SHAPE if USUAL_SHAPE in shapes else shapes[0]


def _title(files: Sequence[Results]) -> str:
    heads, _, head_dim = drawn_shape(files)
    name = files[0].header.hardware.name
    return f"Causal ALiBi attention, {heads} heads of {head_dim}: {name}"


if __name__ == "__main__":
    main()
