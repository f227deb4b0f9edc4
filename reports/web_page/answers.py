"""The answer in three sentences: which variant is fastest in a view of a setup, by how much, and
how sure that is."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from reports.tables.columns import three_digits, times
from reports.tables.table import by
from reports.web_page.page_cells import PageCell, View, view_of
from variants.catalog import AUTO, BASELINE


class ViewAnswer(msgspec.Struct, frozen=True):
    """What stands on top of a page for one setup and view. Each text is plain, without markup.

    `doubt` comes first: why the setup's figures are too noisy to trust, and what would help. It is
    empty where they aren't.
    """

    setup: str
    view: View
    doubt: str
    headline: str
    by_how_much: str
    how_sure: str


def answers_of(cells: Sequence[PageCell], doubts: Mapping[str, str]) -> list[ViewAnswer]:
    """Return an answer for each view of each setup that has a cell, in the order of the cells.

    `doubts` has each setup's doubt by its name.
    """
    groups = by(lambda cell: (cell.setup, view_of(cell)), cells)
    return [answer(setup, view, alike, doubts[setup]) for (setup, view), alike in groups.items()]


def answer(setup: str, view: View, cells: Sequence[PageCell], doubt: str) -> ViewAnswer:
    """Return the answer that the cells of one setup and view give."""
    winners = sorted((cell for cell in cells if cell.rank == 1), key=lambda cell: cell.kv_len)
    if not winners:
        return ViewAnswer(setup, view, doubt, "No variant can be recommended", _why_none(cells), "")
    name, count = Counter(cell.variant for cell in winners).most_common(1)[0]
    lengths = {cell.kv_len for cell in cells}
    wins = [cell for cell in winners if cell.variant == name]
    share = _share_of(count, len(lengths))
    span = _span([cell.kv_len for cell in wins])
    headline = f"{name} {'looks' if doubt else 'is'} fastest at {share}: {span}"
    others = [f"{cell.variant} at {cell.kv_len}" for cell in winners if cell.variant != name]
    parts = [
        _ratios(wins),
        f"Elsewhere: {_join_some(others)}." if others else "",
        _runner_up(wins, cells),
    ]
    sentences = " ".join(part for part in parts if part)
    certainty = _uncertainty(winners, cells) or ("" if doubt else _SURE)
    return ViewAnswer(setup, view, doubt, headline, sentences, certainty)


_SURE = "Sure: 95% intervals over passes tell the fastest from the rest at every length."


def _share_of(count: int, lengths: int) -> str:
    if lengths == 1:
        return "the one length measured"
    if count == lengths:
        return "both lengths" if count == 2 else f"all {lengths} lengths"
    return f"{count} of {lengths} lengths"


def _span(lengths: Sequence[int]) -> str:
    first, last = min(lengths), max(lengths)
    if first == last:
        return f"{first} keys"
    return f"{first} {'and' if len(lengths) == 2 else 'to'} {last} keys"


def _join_some(words: Sequence[str], at_most: int = 4) -> str:
    rest = len(words) - at_most
    return ", ".join(words[:at_most]) + (f" and {rest} more" if rest > 0 else "")


def _ratios(wins: Sequence[PageCell]) -> str:
    """Return the winner's time over the baseline's."""
    ratios = [cell.vs_no_bias for cell in wins if cell.vs_no_bias is not None]
    if not ratios:
        return f"{BASELINE.name} has no time here, so there is no ratio to it."
    low, high = times(min(ratios)), times(max(ratios))
    span = low if low == high else f"{low} to {high}"
    return f"It takes {span} the time of attention without a bias ({BASELINE.name})."


def _runner_up(wins: Sequence[PageCell], cells: Sequence[PageCell]) -> str:
    """Return how far the winner is ahead, at the longest length at which there is a second."""
    for winner in sorted(wins, key=lambda cell: -cell.kv_len):
        second = next((c for c in cells if c.kv_len == winner.kv_len and c.rank == 2), None)
        if second is not None:
            lead = f"the next, {second.variant}, takes {_lead(winner, second)} as long"
            return f"At {winner.kv_len} keys it takes {_time(winner)}; {lead}."
    return ""


def _lead(winner: PageCell, second: PageCell) -> str:
    if winner.vs_no_bias and second.vs_no_bias:
        return times(second.vs_no_bias / winner.vs_no_bias)
    return times((second.time_ms or 0.0) / (winner.time_ms or 1.0))


def _time(cell: PageCell) -> str:
    if cell.time_ci_ms is None:
        return f"{three_digits(cell.time_ms)} ms"
    low, high = cell.time_ci_ms
    return f"{three_digits(cell.time_ms)} ms ({three_digits(low)} to {three_digits(high)})"


def _uncertainty(winners: Sequence[PageCell], cells: Sequence[PageCell]) -> str:
    """Return what makes the answer uncertain; an empty text if nothing does."""
    tied = {cell.kv_len for cell in cells if cell.place.endswith("(tied with 1)")}
    noisy = {cell.kv_len for cell in cells if cell.place.endswith("(too noisy to tell from 1)")}
    unranked = sum(cell.place == "too noisy to rank" for cell in cells)
    without = [cell for cell in cells if cell.rank in {1, 2} and cell.time_ci_ms is None]
    parts = [_at("another variant is tied with the fastest", tied - noisy)]
    parts += [_at("the noise is too large to tell the fastest", noisy)]
    parts += [_at("one or two passes give no interval", {cell.kv_len for cell in without})]
    parts += [f"{unranked} {_cells(unranked)} too noisy to rank"] if unranked else []
    compared = {cell.kv_len for cell in cells if cell.rank == 2}
    alone = {cell.kv_len for cell in winners} - compared
    parts += [_at("no other variant was ranked", alone)]
    present = [part for part in parts if part]
    return f"Take care: {'; '.join(present)}." if present else ""


def _at(what: str, lengths: set[int]) -> str:
    return f"{what} at {_join_some([str(each) for each in sorted(lengths)], 6)}" if lengths else ""


def _why_none(cells: Sequence[PageCell]) -> str:
    contenders = [c for c in cells if c.answers == "alibi" and c.variant != AUTO.name]
    if not contenders:
        return "Only baselines were measured here."
    counts = Counter(cell.place for cell in contenders)
    return "Its cells ended as " + ", ".join(f"{it} ({n})" for it, n in counts.items()) + "."


def _cells(count: int) -> str:
    return "cell was" if count == 1 else "cells were"
