"""A small case with two batch entries, grouped heads and an odd length, checked once a dtype.

A case of one entry, as many kv heads as heads and a length of whole tiles shows no mistake in any
of these. The case is checked on tokens of very different sizes too: standard normal numbers don't
show that a key is left out whose value is 1000 times as large as others. A variant that gets the
small case wrong is not ranked in any case of the run with that dtype.
"""

from collections.abc import Iterator

import msgspec

from suite.cases.case import Case
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.protocol import CheckAlone, CheckResult
from suite.race.setting import Setting, SmallCheck, fresh_seed

ODD_LENGTH = 299  # long enough for far keys to be left out


def small_check(setting: Setting, lane: Handle) -> SmallCheck:
    """Check a variant in the small case, or what it takes of it.

    Raises LaneFault when the variant fails or the lane dies.
    """
    seed = fresh_seed()
    for case in _small_cases(setting.case):
        try:
            result = lane.ask(CheckAlone(case, seed), CheckResult, setting.step_timeout_s)
        except LaneFault as fault:
            if fault.status not in {"unsupported", "skipped"}:
                raise
        else:
            return SmallCheck(msgspec.structs.replace(result, where=_where(case, result)), seed)
    return SmallCheck(None, seed)


def _small_cases(case: Case) -> Iterator[Case]:
    """Yield the small case like `case`, then the one without grouped heads."""
    for heads, kv_heads in ((4, 2), (2, 2)):
        yield msgspec.structs.replace(
            case,
            batch=2,
            heads=heads,
            kv_heads=kv_heads,
            q_len=1 if case.mode == "decode" else ODD_LENGTH,
            kv_len=ODD_LENGTH,
            seq_lens=(),
            q_lens=(),
            form="padded",
            padding="",
            recording="",
        )


def _where(case: Case, result: CheckResult) -> str:
    groups = f"{case.heads} heads over {case.kv_heads} kv heads"
    return f"batch 2, {groups}, {ODD_LENGTH} keys: {result.where}"
