"""`export` and `schema`: results for other tools, and what files of ours look like."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from reports.commands.console import read_once, refuse_other_files, show, warn, write_folder

FILE_EXPORTS = ("pytest-benchmark", "github-action", "bencher", "hud")
FOLDER_EXPORTS = ("otava", "asv")
DOCUMENTS = ("results", "selections", "table")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice((*FILE_EXPORTS, *FOLDER_EXPORTS)),
    required=True,
    help="The tool that is to read it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file to write, or the folder, which otava and asv need; without it stdout.",
)
def export(files: Sequence[Path], form: Any, out: Path | None) -> None:
    """Write results files for a tool that tracks benchmarks.

    pytest-benchmark, github-action, bencher and hud take one run, whose FILES are of one device,
    software and commit. otava and asv take the history, into a folder of its own: name all FILES
    each time. A cell without a valid time is left out, and stderr says why.

    \b
    Example:
      python run_bench.py export results/FILE.jsonl --format bencher
      python run_bench.py export results/main-*.jsonl --format otava --out otava/
    """
    from reports.exports.formats import export_file, export_folder

    if form in FOLDER_EXPORTS:
        if out is None:
            raise click.UsageError(f"--format {form} is of several files: name a folder with --out")
        history = export_folder(read_once(files), form)
        refuse_other_files(out, history.files)
        write_folder(out, history.files)
        warn(history.cautions)
        return
    if out is not None and any(out.resolve() == file.resolve() for file in files):
        raise click.UsageError(f"--out {out} is one of FILES; name another file")
    run = export_file(read_once(files), form)
    if out is None:
        warn(run.cautions)
        show(run.text)
    else:
        write_folder(out.parent, {out.name: f"{run.text}\n"})
        warn(run.cautions)


@click.command()
@click.argument("document", type=click.Choice(DOCUMENTS))
def schema(document: Any) -> None:
    """Print the JSON schema of results, of selections or of tables.

    \b
    Example:
      python run_bench.py schema results
    """
    from reports.exports.schemas import schema_text

    show(schema_text(document))
