"""`page`: results as a page of charts, as pictures and as Markdown."""

from collections.abc import Sequence
from pathlib import Path

import click

from reports.commands.console import read_lengths_once, read_once, show


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The folder to write it into."
)
def page(files: Sequence[Path], out: Path) -> None:
    """Write results files as a page: an answer, charts and filters.

    Writes index.html, which is whole in one file and needs no network, the charts as SVG and PNG,
    and report.md. Results of several devices stand side by side. Files of `lengths` show quality
    beyond the trained length, and beside its cost if races stand with them. Needs the extra
    `report`.

    \b
    Example:
      python run_bench.py page results/FILE.jsonl --out results/page
      python run_bench.py page results/LENGTHS.jsonl --out results/page
    """
    from reports.web_page.write_page import check_extra, check_folder, write_page
    from suite.quality.results import is_of_lengths

    check_extra()
    check_folder(out, "--out")
    of_lengths = [path for path in files if is_of_lengths(path)]
    races = [path for path in files if path not in of_lengths]
    written = write_page(read_once(races), out, read_lengths_once(of_lengths))
    show(f"Page: {written[0]}")
