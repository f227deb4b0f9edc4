"""How similar two problems or two devices are, so that one can stand in for another."""

import math

from variants.host.hardware import Gpu, Hardware
from variants.selection.schema import Problem

Family = tuple[object, ...]
"""All of a problem except its length: problems of one family differ only in length."""


_STEP_QUERIES = 16  # fewer than this over a longer cache are a step of decode, more are a chunk


def is_step(q_len: int, kv_len: int) -> bool:
    """Whether so many queries at the end of so many keys are a step of decode."""
    return q_len < kv_len and q_len < _STEP_QUERIES


def is_square(problem: Problem) -> bool:
    """Whether there are as many queries as keys, so that one length gives both."""
    return problem.q_len == problem.kv_len


def family_of(problem: Problem) -> Family:
    """Return all of a problem except its length."""
    return (
        *regime_of(problem),
        queries(problem),
        *_shape(problem),
        problem.layout,
        *_rules(problem),
    )


def regime_of(problem: Problem) -> Family:
    """Return dtype, mode, causality and squareness: no other regime can stand in for one."""
    return problem.dtype, problem.mode, problem.causal, is_square(problem)


def queries(problem: Problem) -> int | None:
    """Return the number of queries, or None where it equals the length."""
    return None if is_square(problem) else problem.q_len


def growth(problem: Problem) -> float:
    """Return the power of the length by which pairs of queries and keys grow."""
    return 2.0 if is_square(problem) else 1.0


def work(problem: Problem) -> int:
    """Return a number to which times of one regime and length are roughly proportional."""
    return problem.batch * problem.heads * problem.head_dim * (queries(problem) or 1)


def distance(first: Problem, second: Problem) -> float:
    """Return how unlike two shapes of one regime are.

    The sum of the doublings between their sizes, plus a half for each of layout, scale and
    slope_scale that differs.
    """
    ratios = [
        (first.batch * first.heads, second.batch * second.heads),
        (first.head_dim, second.head_dim),
        (first.heads / first.kv_heads, second.heads / second.kv_heads),
        (queries(first) or 1, queries(second) or 1),
        (first.logit_scale, second.logit_scale),
        (first.bias_max, second.bias_max),
    ]
    doublings: float = sum(
        abs(math.log2(of_first) - math.log2(of_second)) for of_first, of_second in ratios
    )
    rules = ("layout", "scale", "slope_scale")
    unlike = [name for name in rules if getattr(first, name) != getattr(second, name)]
    return doublings + len(unlike) / 2


def are_akin(first: Hardware, second: Hardware) -> bool:
    """Whether two devices share an architecture: a GPU capability, or CPU family and features."""
    if isinstance(first, Gpu) and isinstance(second, Gpu):
        return first.capability == second.capability
    if isinstance(first, Gpu) or isinstance(second, Gpu):
        return False
    return (first.vendor, first.family, first.features) == (
        second.vendor,
        second.family,
        second.features,
    )


def _shape(problem: Problem) -> Family:
    return problem.batch, problem.heads, problem.kv_heads, problem.head_dim


def _rules(problem: Problem) -> Family:
    return problem.scale, problem.slope_scale, problem.bias_max, problem.logit_scale
