"""The plan of a command line that gives some options alone."""

from typing import Any

from suite.cases.plan import Plan
from suite.cases.request import Request
from variants.catalog import CATALOG

NAMES = [variant.name for variant in CATALOG]


def plan_of(**options: Any) -> Plan:
    """Return the plan of a command line that gives these options alone, of the sweep `smoke`."""
    given = {"device": "cpu", "sweep": "smoke", "step_timeout": "60s"} | options
    device = given.pop("device")
    return Request(**given).plan(device)
