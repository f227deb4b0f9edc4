"""Settings with which Hypothesis draws the same examples on every machine."""

from hypothesis import HealthCheck, settings

from tests.effort import examples


def same_draws(number: int) -> settings:
    """Return settings that draw `examples(number)` examples, the same in every run."""
    return settings(
        max_examples=examples(number),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
