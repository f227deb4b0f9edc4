"""How alike two problems or two devices are: what may stand in for what was never measured."""

import math

from variants.host.hardware import Gpu, Hardware
from variants.selection.schema import Problem

Family = tuple[object, ...]
"""Everything of a problem but its length; problems of one family differ in it alone."""


def is_square(problem: Problem) -> bool:
    """Whether there are as many queries as keys, so that one length says both."""
    return problem.q_len == problem.kv_len


def family_of(problem: Problem) -> Family:
    """Return all of a problem but its length."""
    return (
        *regime_of(problem),
        queries(problem),
        *_shape(problem),
        problem.layout,
        *_rules(problem),
    )


def regime_of(problem: Problem) -> Family:
    """Return what no other measurement can stand in for."""
    return problem.dtype, problem.mode, problem.causal, is_square(problem)


def queries(problem: Problem) -> int | None:
    """Return the number of queries where it does not follow from the length."""
    return None if is_square(problem) else problem.q_len


def growth(problem: Problem) -> float:
    """Return the power of the length with which the pairs of queries and keys grow."""
    return 2.0 if is_square(problem) else 1.0


def work(problem: Problem) -> int:
    """Return what times of one regime and length are in proportion to, more or less."""
    return problem.batch * problem.heads * problem.head_dim * (queries(problem) or 1)


def distance(one: Problem, other: Problem) -> float:
    """Return how unlike two shapes of one regime are: doublings, and half a one for each rule."""
    ratios = [
        (one.batch * one.heads, other.batch * other.heads),
        (one.head_dim, other.head_dim),
        (one.heads / one.kv_heads, other.heads / other.kv_heads),
        (queries(one) or 1, queries(other) or 1),
        (one.logit_scale, other.logit_scale),
        (one.bias_max, other.bias_max),
    ]
    doublings: float = sum(
        abs(math.log2(of_one) - math.log2(of_other)) for of_one, of_other in ratios
    )
    rules = ("layout", "scale", "slope_scale")
    unlike = [name for name in rules if getattr(one, name) != getattr(other, name)]
    return doublings + len(unlike) / 2


def are_akin(one: Hardware, other: Hardware) -> bool:
    """Whether two devices are of one architecture: a GPU's capability, a CPU family's features."""
    if isinstance(one, Gpu) and isinstance(other, Gpu):
        return one.capability == other.capability
    if isinstance(one, Gpu) or isinstance(other, Gpu):
        return False
    return (one.vendor, one.family, one.features) == (other.vendor, other.family, other.features)


def _shape(problem: Problem) -> Family:
    return problem.batch, problem.heads, problem.kv_heads, problem.head_dim


def _rules(problem: Problem) -> Family:
    return problem.scale, problem.slope_scale, problem.bias_max, problem.logit_scale
