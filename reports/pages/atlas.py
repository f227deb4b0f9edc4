"""The atlas as a page: which ALiBi each implementation computes, and what is wrong with it."""

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from reports.pages.atlas_traps import is_refusal, name, traps
from reports.tables.table import by
from suite.atlas.findings import BiasError, Findings, SlopeRule

_OPENING = """# Atlas: which ALiBi each implementation computes

Every answer below was measured: an implementation was called, and its output was read. For most
questions q and k are zero and v has one-hot columns, so that an output is the row of weights that
the bias alone gives. Grouped heads, padding and gradients are asked with random numbers, at 48 keys
in float32. `python run_bench.py atlas` asks again and writes this page.

A row "as shipped" keeps the project's own slopes, and answers also what is declined in a race. The
other rows are what is raced: [peers.md](peers.md) and [variants.md](variants.md).

Asked with {software}, on {hardware}, one thread each."""

_CONVENTIONS = """## Conventions

- **Slopes**: whose slopes are used when the caller hands over those of a bias_max of 16.
- **Scale**: whether the bias is added after q·k was scaled, or scaled with it.
- **Bidirectional**: without a causal mask, the bias of a key after the query. "Signed" rewards it.
- **Chunk**: where 16 queries stand among 48 keys.
- **Grouped**, **padding**, **gradients** (of q, k, v) and those of the **slopes**: right against
  float64, or declined. Padding is at the left and holds NaN.

{table}"""

_RULES = """## Slopes by head count

The first and the last slope, when the caller hands over those of the paper's code. "The literal
rule" is 2^(-8 (h+1) / heads) for every head count, as the paper's text has it; models don't use it.
It is the same for powers of two.

{table}"""

_ERRORS = """## Rounding of the bias

The largest error of a logit, in nats. First of the last query: of its 64 newest keys, and after the
slash of its 64 oldest in the gentlest head, whose scores are lifted so that they can be seen. Then
of the middle row of a prefill of 2048 keys: of its 64 nearest keys. An error of 0.1 makes a weight
wrong by a tenth. Rounding the output to bfloat16 alone costs 0.004. One that declines takes whole
prefill alone, or no whole prefill, or not that dtype.

{table}"""

_TRAPS = """## Traps that were found

{found}"""


def page(findings: Sequence[Findings], software: Mapping[str, str], hardware: str) -> str:
    """Return the page."""
    versions = ", ".join(f"{name} {version}" for name, version in software.items())
    opening = _OPENING.format(software=versions, hardware=hardware)
    parts = [
        opening,
        _TRAPS.format(found="\n".join(f"- {line}" for line in traps(findings)) or "None."),
        _CONVENTIONS.format(table=_conventions(findings)),
        _RULES.format(table=_rules(findings)),
        _ERRORS.format(table=_errors(findings)),
    ]
    ended = [f"- {name(each)}: {each.ended}" for each in findings if each.ended]
    if ended:
        parts.append("\n".join(["## Not asked to the end\n", *ended]))
    return "\n\n".join(parts) + "\n"


def _conventions(findings: Sequence[Findings]) -> str:
    fields = ("slopes", "scale", "bidirectional", "chunk", "grouped", "padding", "gradients")
    rows = [
        [name(each), *(_short(getattr(each, field)) for field in (*fields, "slope_gradients"))]
        for each in findings
    ]
    headers = ["implementation", *fields, "of slopes"]
    return tabulate(rows, headers, "github", disable_numparse=True)


def _rules(findings: Sequence[Findings]) -> str:
    counts = sorted({rule.heads for each in findings for rule in each.rules})
    rows = []
    for each in findings:
        by_count = {rule.heads: rule for rule in each.rules}
        if by_count:
            cells = [_rule(by_count[heads]) if heads in by_count else "" for heads in counts]
            rows.append((name(each), tuple(cells)))
    table = [
        [*cells, ", ".join(who for who, _ in alike)]
        for cells, alike in by(lambda row: row[1], rows).items()
    ]
    headers = [*(f"{heads} heads" for heads in counts), "implementations"]
    return tabulate(table, headers, "github", disable_numparse=True)


def _rule(rule: SlopeRule) -> str:
    if rule.first is None or rule.last is None:
        return rule.rule
    return f"{rule.rule}: {rule.first:.3g} to {rule.last:.3g}"


def _errors(findings: Sequence[Findings]) -> str:
    columns = list(dict.fromkeys(_column(error) for each in findings for error in each.errors))
    rows = []
    for each in findings:
        if not each.errors:
            continue
        by_column = {_column(error): error for error in each.errors}
        rows.append([name(each), *(_error(by_column.get(column)) for column in columns)])
    headers = ["implementation", *columns]
    return tabulate(rows, headers, "github", disable_numparse=True)


def _column(error: BiasError) -> str:
    return f"{error.dtype} {'middle of ' if error.middle else ''}{error.length}"


def _error(error: BiasError | None) -> str:
    if error is None:
        return ""
    if error.near is None:
        return _short(error.reason)
    if error.middle:
        return f"{error.near:.2g}"
    return f"{error.near:.2g} / {'masked' if error.far is None else f'{error.far:.2g}'}"


def _short(answer: str) -> str:
    """Return an answer without the reason of a refusal."""
    return answer.partition(":")[0] if is_refusal(answer) else answer
