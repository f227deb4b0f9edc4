"""Times are told in minutes and seconds, and without minutes where there are none."""

import pytest

from reports.text.minutes import in_minutes


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0s"), (41.4, "41s"), (59.6, "1m00s"), (125, "2m05s")]
)
def test_a_time_has_two_digits_of_seconds_behind_minutes(seconds: float, words: str) -> None:
    assert in_minutes(seconds) == words
