"""What a results file must be before it is published: a function for each rule.

A rule takes a file's results and yields a finding for each thing that is wrong. Rules that look at
what is published already are in filing.py.
"""

from collections.abc import Iterator

import msgspec

from reports.publishing.finding import Finding
from reports.publishing.privacy import private_words
from reports.tables.conditions import CANARY_MOVED
from reports.tables.estimates import PASSES_FOR_INTERVAL
from suite.cases.plan import Cell
from suite.conditions.policy import policy
from suite.records.record import Agreement, Canary, Fault, RunHeader, Time
from suite.records.store import Results, is_duel_record
from variants.catalog import BY_NAME, PEERS
from variants.host.hardware import Gpu

LARGEST_BYTES = 16 << 20

_PEERS = {variant.name for variant in PEERS}


def findings(results: Results) -> list[Finding]:
    """Return all that is wrong with a file, whatever else is published."""
    if any(is_duel_record(record) for record in results.records):
        mend = "publish a file that `run` wrote"
        return [Finding("it is a file of pairs, which `ab` or `aa` wrote", mend)]
    return list(dict.fromkeys(finding for rule in RULES for finding in rule(results)))


def is_undamaged(results: Results) -> Iterator[Finding]:
    """Every line can be read, and all of them are of less than 16 MiB."""
    for warning in results.warnings:
        mend = "delete that line, then run --resume measures what it had"
        yield Finding(warning.removeprefix(f"{results.path}: "), mend)
    mib = results.path.stat().st_size / (1 << 20)
    if mib * (1 << 20) >= LARGEST_BYTES:
        mend = "measure fewer cases or passes a file, such as one mode a file"
        yield Finding(f"it has {mib:.0f} MiB, and a published file less than 16 MiB", mend)


def is_of_one_commit(results: Results) -> Iterator[Finding]:
    """One commit measured all of it, without uncommitted changes."""
    again = "commit them or `git stash` them, then measure again into a new file"
    codes = {header.circumstances.code for header in _headers(results)}
    if any(header.circumstances.uncommitted for header in _headers(results)):
        yield Finding("suite/ or variants/ had uncommitted changes as it was measured", again)
    elif any(code.startswith("code tree-") for code in codes):
        mend = "measure again in a clone, with git installed"
        yield Finding("it names no commit: it was measured outside of a git clone", mend)
    elif len(codes) > 1:
        mend = "measure again with one commit, into a new file"
        yield Finding(f"{len(codes)} commits measured it", mend)


def has_published_policy(results: Results) -> Iterator[Finding]:
    """Threads, allocator, clock and inputs are those of every published file."""
    for header in _headers(results):
        kind = "cuda" if isinstance(header.hardware, Gpu) else "cpu"
        usual = policy(kind, header.hardware.cores)
        usual = msgspec.structs.replace(usual, omp_wait_policy="default")
        for field in usual.__struct_fields__:
            value, published = getattr(header.policy, field), getattr(usual, field)
            if value != published:
                mend = "`unset OMP_WAIT_POLICY`, and measure again with the newest code"
                yield Finding(f"its policy has {field} {value}, published is {published}", mend)


def has_enough_passes(results: Results) -> Iterator[Finding]:
    """Each case that was begun has all of its variants in all passes, at least 3.

    A budget may leave whole cases out.
    """
    planned = results.header.plan
    finished = results.finished_cells()
    begun = {case for case, _, _ in finished}
    cells = [
        (case, variant, number)
        for case in begun
        for variant in planned.variants
        for number in range(1, planned.passes + 1)
    ]
    lacking = sum(cell not in finished for cell in cells)
    resume = f"python run_bench.py run --resume {results.path}"
    if not begun:
        yield Finding("no cell is measured", resume, is_command=True)
    if planned.passes < PASSES_FOR_INTERVAL:
        count = f"{planned.passes} pass{'es' * (planned.passes != 1)}"
        mend = f"measure again with --passes {PASSES_FOR_INTERVAL}, into a new file"
        yield Finding(f"it has {count}, and an interval takes {PASSES_FOR_INTERVAL}", mend)
    if lacking:
        what = f"{lacking} of {len(cells)} cells are missing from cases that were begun"
        yield Finding(what, f"{resume} measures them")


def agrees(results: Results) -> Iterator[Finding]:
    """Each time has a check before and after it, and no variant of ours disagrees.

    What peers answer is theirs: a disagreement of one is published as such. So is one by design, as
    that of sdpa_key in float32, up to the error that the catalog allows.
    """
    checks = [record for record in results.records if isinstance(record, Agreement)]
    checked = {(it.case, it.variant, it.pass_number, it.stage) for it in checks}
    failed = {
        (it.case, it.variant, it.pass_number) for it in results.records if isinstance(it, Fault)
    }
    times = [
        (it.case, it.variant, it.pass_number) for it in results.records if isinstance(it, Time)
    ]
    unchecked = [
        time
        for time in times
        if time not in failed and not {(*time, "before"), (*time, "after")} <= checked
    ]
    if unchecked:
        mend = "measure again: `run` checks every answer before and after its timing"
        yield Finding(f"{len(unchecked)} of {len(times)} times have no check beside them", mend)
    disagreeing: dict[str, list[Cell]] = {}
    for it in checks:
        if not (it.agrees or _is_by_design(it) or it.variant in _PEERS):
            disagreeing.setdefault(it.variant, []).append((it.case, it.variant))
    for variant, cells in disagreeing.items():
        where = f"{variant} disagrees with the oracle in {cells[0][0].id}"
        rest = len(set(cells)) - 1
        more = f" and {rest} more case{'s' * (rest != 1)}" if rest else ""
        mend = f"open an issue with this file; to publish, measure --variants without {variant}"
        yield Finding(f"{where}{more}", mend)


def has_quiet_canary(results: Results) -> Iterator[Finding]:
    """The machine was about as fast at the start of each pass."""
    times_ms = [record.median_ms for record in results.records if isinstance(record, Canary)]
    if not times_ms:
        yield Finding(
            "no canary says how fast the machine was", "measure again with the newest code"
        )
    elif max(times_ms) > CANARY_MOVED * min(times_ms):
        moved = f"the canary moved by {max(times_ms) / min(times_ms):.2f}x"
        mend = "stop what else runs (`python run_bench.py doctor` looks), then measure a new file"
        yield Finding(f"{moved}, and {CANARY_MOVED}x is the most: the machine was not quiet", mend)


def is_private(results: Results) -> Iterator[Finding]:
    """No string has a path or the name of a host in it."""
    for words in private_words(results.path):
        edits = " ".join(f"-e 's#{old}#{new}#g'" for old, new in words.edits)
        what = f"it has {words.what} in it: {', '.join(words.examples)}"
        yield Finding(what, f"sed -i {edits} {results.path}", is_command=True)


def _is_by_design(check: Agreement) -> bool:
    """Whether the catalog says that a variant disagrees in this dtype, and as far as this."""
    variant = BY_NAME.get(check.variant)
    allowed = variant.disagrees_in.get(check.case.dtype) if variant else None
    if allowed is None or check.error is None:
        return False
    return check.error <= allowed.error_at_most


def _headers(results: Results) -> list[RunHeader]:
    return [record for record in results.records if isinstance(record, RunHeader)]


RULES = (
    is_undamaged,
    is_of_one_commit,
    has_published_policy,
    has_enough_passes,
    agrees,
    has_quiet_canary,
    is_private,
)
"""Every rule for a file by itself; a test has a file that breaks each."""
