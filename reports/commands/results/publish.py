"""`publish`: check anyone's results, and file them where all can read them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reports.commands.console import show

if TYPE_CHECKING:
    from suite.records.store import Results


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", help="Publish under this name; without it that of the sweep.")
@click.option("--check", is_flag=True, help="Say what is wrong, and file nothing.")
def publish(files: Sequence[Path], name: str | None, check: bool) -> None:
    """Check results FILES, and file them under results/published/.

    A file is published if a stranger can trust it and repeat it: one commit without changes, at
    least 3 passes, agreement, a quiet machine, no path or host name. Else each thing that is wrong
    is said with what mends it, and the exit code is 2. A file that passes is copied into its
    device's folder, whose tables, index and selection are written anew. Of a file that is there
    already, the place is said, and nothing is done.

    \b
    Example:
      python run_bench.py publish results/gpu.jsonl
      python run_bench.py publish results/FILE.jsonl --name decode
      python run_bench.py publish --check results/FILE.jsonl
    """
    from reports.publishing.filing import filed_text, filings
    from reports.text.screen import screen
    from suite.conditions.policy import ROOT
    from suite.records.store import read
    from variants.host.installation import IS_INSTALLED

    if IS_INSTALLED:
        raise click.UsageError("publish files into a clone of the repository; run it in one")
    if len(files) > 1 and name is not None:
        raise click.UsageError(f"--name {name} is for one file, and {len(files)} are named")
    new = _check([read(path) for path in dict.fromkeys(files)], anew=check)
    if check or not new:
        return
    output = screen()
    for filing in filings(new, name, ROOT):
        filing.write()
        show(filed_text(filing, ROOT, output))
    show(
        "Next: commit results/published and selections, and open a pull request\n"
        "  (docs/your-hardware.md)"
    )


def _check(every: Sequence["Results"], *, anew: bool) -> list["Results"]:
    """Say of each file whether it can be published or is already; return those that are new.

    With `anew` a file in its published place is checked like a new one. Raises BadRequest if one
    can't be published.
    """
    from reports.publishing.checks import findings
    from reports.publishing.filing import filed_as
    from reports.publishing.finding import report
    from reports.publishing.neighbours import neighbour_findings
    from reports.text.paragraph import paragraph
    from reports.text.screen import screen
    from suite.conditions.policy import ROOT
    from suite.failures import BadRequest

    output = screen()
    new: list[Results] = []
    wrong = 0
    for results in every:
        there = filed_as(results, ROOT)
        if there is not None and not (anew and there.samefile(results.path)):
            words = f"{results.path}: filed already, as {there.relative_to(ROOT)}"
            show(paragraph(words, output.width, "  "))
            continue
        faults = findings(results) or neighbour_findings(results, ROOT, new)
        wrong += bool(faults)
        show(report(results.path, faults, output))
        new.append(results)
    if wrong:
        raise BadRequest(f"{wrong} of {len(every)} files can't be published; see above")
    return new
