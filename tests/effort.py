"""How many examples a drawn test takes: a few in the light tier, all with --full."""

import os

FULL = "ALIBI_TESTS_FULL"


def examples(number: int) -> int:
    """Return `number` with --full, else a twelfth of it and at least five."""
    return number if FULL in os.environ else max(5, number // 12)
