"""results/published/<hardware key>/README.md: what each results file is, and who wins where."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from reports.overview.winners import fastest
from reports.tables.conditions import conditions
from reports.tables.newest import groups_of_newest
from reports.tables.row import NOT_YET
from reports.tables.table import by, shape_of
from suite.cases.case import Case
from suite.records.store import Results

_OPENING = """# Published results: {name}

Hardware key `{key}`. Each results file is JSON lines with every raw sample, and its table lies
beside it. `python run_bench.py table FILE` makes the table, `--metric memory` and others show more.
A commit is the one that measured; files of one device may be from several. `make docs` writes this
page, `make publish` measures the set of the machine that it runs on.
"""


def index(files: Sequence[Results]) -> str:
    """Return the index of the results files of one device, in the order of their names."""
    hardware = files[0].header.hardware
    lines = [_line(file) for file in sorted(files, key=lambda file: file.path.name)]
    table = tabulate(
        lines,
        ("file", "what", "variants", "passes", "measured", "commit", "table"),
        "github",
        disable_numparse=True,
    )
    parts = [_OPENING.format(name=hardware.name, key=hardware.key), table, "## Fastest that agrees"]
    return "\n\n".join([*(part.strip() for part in parts), *_winners(files)]) + "\n"


def _line(file: Results) -> tuple[str, ...]:
    """Return a file's line: what a budget left out of its plan is not in it."""
    header, name = file.header, file.path.name
    plan = header.plan
    begun = {case for case, _, _ in file.finished_cells()}
    return (
        f"[{file.path.stem}]({name})",
        _contents([case for case in plan.cases if case in begun]),
        str(len(plan.variants)),
        str(plan.passes),
        header.started[:10],
        header.circumstances.commit[:9],
        f"[table]({Path(name).with_suffix('.md')})",
    )


def _contents(cases: Sequence[Case]) -> str:
    """Return what cases have in common and what they range over, in words."""
    modes = ", ".join(dict.fromkeys(case.mode for case in cases))
    dtypes = " and ".join(dict.fromkeys(case.dtype for case in cases))
    lengths = sorted({case.kv_len for case in cases})
    keys = f"{lengths[0]} keys" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]} keys"
    keys += f" ({len(lengths)} lengths)" if len(lengths) > 2 else ""
    shapes = " and ".join(
        dict.fromkeys(f"{case.batch} x {case.heads} heads of {case.head_dim}" for case in cases)
    )
    words = [modes, keys, dtypes, shapes]
    words += ["bidirectional"] if not all(case.causal for case in cases) else []
    scales = {case.logit_scale for case in cases} - {1.0}
    words += [f"logit scale {scale:g}" for scale in sorted(scales)]
    return ", ".join(words)


def _winners(files: Sequence[Results]) -> Iterator[str]:
    """Yield for each set of comparable files its conditions and a table of the fastest variants."""
    for group in groups_of_newest(files):
        yield conditions(group)
        rows = [row for row in group.rows if row.reason != NOT_YET]
        for shape, shape_rows in by(shape_of, rows).items():
            yield shape
            yield fastest(shape_rows)
