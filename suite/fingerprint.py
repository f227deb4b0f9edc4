"""Who measured: the record that opens a run, and what forbids comparing two runs."""

from collections.abc import Sequence
from datetime import UTC, datetime

from suite import machine
from suite.record import SCHEMA, Machine, Plan


def fingerprint(plan: Plan, argv: Sequence[str]) -> Machine:
    """Return the record of a run that starts now on this machine.

    Raises OSError where the processor can't be read.
    """
    hardware = machine.hardware()
    return Machine(
        schema=SCHEMA,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        argv=tuple(argv),
        hardware=hardware,
        software=machine.software(),
        policy=machine.policy(hardware.cores),
        circumstances=machine.circumstances(),
        plan=plan,
    )


def differences(one: Machine, other: Machine) -> list[str]:
    """Return what makes measurements of two runs incomparable, a phrase for each field."""
    pairs = [("hardware key", one.hardware.key, other.hardware.key)]
    pairs += [
        (name, one.software.get(name, "absent"), other.software.get(name, "absent"))
        for name in sorted({*one.software, *other.software})
    ]
    pairs += [
        (field, str(getattr(one.policy, field)), str(getattr(other.policy, field)))
        for field in one.policy.__struct_fields__
    ]
    return [f"{name} {mine} and not {theirs}" for name, mine, theirs in pairs if mine != theirs]
