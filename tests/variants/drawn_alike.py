"""Settings with which Hypothesis draws the same on every machine."""

from hypothesis import HealthCheck, settings

from tests.effort import examples


def drawn_alike(number: int) -> settings:
    """Return settings for `examples(number)`, which are the same everywhere."""
    return settings(
        max_examples=examples(number),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
