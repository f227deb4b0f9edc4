"""The plan of a command line that gives some options alone."""

from typing import Any

from suite.plan import plan
from suite.record import Plan
from variants.catalog import CATALOG

NOTHING: dict[str, Any] = {
    "device": "cpu",
    "sweep": "smoke",
    "models": None,
    "lengths": None,
    "dtypes": None,
    "modes": None,
    "q_len": None,
    "seq_lens": None,
    "variants": None,
    "batch": None,
    "heads": None,
    "kv_heads": None,
    "head_dim": None,
    "noncausal": False,
    "layout": None,
    "logit_scale": None,
    "passes": None,
    "seed": 0,
    "step_timeout": "60s",
}
NAMES = [variant.name for variant in CATALOG]


def asked(**options: Any) -> Plan:
    """Return the plan of a command line that gives these options alone."""
    return plan(**NOTHING | options)
