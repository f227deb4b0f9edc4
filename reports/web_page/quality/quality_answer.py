"""The answer of a file of `lengths`: what is lost beyond the trained length, and what it costs."""

from collections.abc import Sequence

import msgspec

from reports.quality.costs import VARIANT_OF, AttentionCost, ratio_words
from reports.quality.method_places import AS_TRAINED
from reports.quality.rows import Bits, QualityRow
from suite.quality.design import Design
from suite.quality.methods import METHOD_BY_NAME

FOREMOST = ("alibi", "rope")


class QualityAnswer(msgspec.Struct, frozen=True):
    """What stands on top: a sentence, and its spread and limits. Plain text, without markup."""

    headline: str
    details: str


def quality_answer(rows: Sequence[QualityRow], design: Design) -> QualityAnswer:
    """Return what ALiBi and RoPE lose on the same targets at the longest length that was tested."""
    short = design.trained_len
    bits = {(r.method.name, r.length): r.on_same_targets for r in rows if r.test == AS_TRAINED}
    longest = max((length for _, length in bits), default=short)
    losses = {
        name: loss
        for name in design.methods
        if (far := bits.get((name, longest))) and (near := bits.get((name, short)))
        if (loss := far.less(near))
    }
    named = [name for name in FOREMOST if name in losses] or list(losses)[:2]
    if longest == short or not named:
        return QualityAnswer("No model was tested beyond its trained length yet", "")
    methods = [name for name in losses if name in VARIANT_OF] or list(losses)
    best = min(methods, key=lambda name: bits[name, longest].mean)
    parts = [
        f"Bits of the same last {short} tokens, with as many before them as fit.",
        _spread({name: losses[name] for name in named}),
        f"The fewest at {longest} has {_title(best)}: {bits[best, longest].mean:.3f}.",
    ]
    return QualityAnswer(_headline(losses, named, longest, short), " ".join(parts))


def _headline(losses: dict[str, Bits], named: Sequence[str], longest: int, short: int) -> str:
    first, *others = named
    times = f"{longest / short:g} times the trained length"
    sentence = (
        f"At {longest} tokens, {times}, {_title(first)} needs {_size(losses[first].mean)} bits per "
        f"byte {_way(losses[first].mean)} than at {short}"
    )
    return sentence + "".join(
        f", and {_title(name)} {_size(losses[name].mean)} {_way(losses[name].mean)}"
        for name in others
    )


def _spread(losses: dict[str, Bits]) -> str:
    seeds = min(len(loss.by_seed) for loss in losses.values())
    if seeds == 1:
        return "One seed, so there is no spread."
    ranges = [
        f"{_title(name)} {loss.low:+.3f} to {loss.high:+.3f}" for name, loss in losses.items()
    ]
    return f"Over {seeds} seeds: {', '.join(ranges)}."


def _title(name: str) -> str:
    return METHOD_BY_NAME[name].title


def _size(bits: float) -> str:
    return f"{abs(bits):.3f}"


def _way(bits: float) -> str:
    return "more" if bits >= 0 else "less"


def cost_answer(costs: Sequence[AttentionCost]) -> str:
    """Return what a prefill's attention costs with ALiBi and with RoPE at the longest length."""
    prefills = [cost for cost in costs if cost.mode == "forward" and cost.method in FOREMOST]
    if not prefills:
        return "No prefill of ALiBi or RoPE was raced"
    longest = max(cost.length for cost in prefills)
    words = [
        f"{_title(cost.method)}'s {ratio_words(cost)}"
        for cost in prefills
        if cost.length == longest
    ]
    takes = f"At {longest} tokens a prefill's attention takes, over bias-free SDPA's"
    return f"{takes}: {', '.join(words)}"
