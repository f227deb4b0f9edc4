"""Who measured: the record that opens a run, and what forbids comparing two runs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from suite import machine, nvml
from suite.devices import Device
from suite.record import SCHEMA, Machine, Plan
from variants.software import software


def fingerprint(plan: Plan, argv: Sequence[str], device: Device) -> Machine:
    """Return the record of a run that starts now on `device`."""
    return Machine(
        schema=SCHEMA,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        argv=tuple(argv),
        hardware=device.hardware,
        software=software(),
        policy=machine.policy(device.kind, device.hardware.cores),
        circumstances=machine.circumstances(_gpu_facts(device)),
        plan=plan,
    )


def _gpu_facts(device: Device) -> dict[str, str]:
    with nvml.opened(device.uuid) as gpu:
        if isinstance(gpu, nvml.Absent):
            return {}
        return {name: nvml.told(value) for name, value in vars(gpu.circumstances()).items()}


def differences(one: Machine, other: Machine) -> list[str]:
    """Return what makes measurements of two runs incomparable, a phrase for each field."""
    pairs = [("hardware key", one.hardware.key, other.hardware.key)]
    pairs += _by_name(one.software, other.software)
    pairs += [
        (field, str(getattr(one.policy, field)), str(getattr(other.policy, field)))
        for field in one.policy.__struct_fields__
    ]
    return _unlike(pairs)


def software_differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return what of the software is another, a phrase for each package."""
    return _unlike(_by_name(one, other))


def _by_name(one: Mapping[str, str], other: Mapping[str, str]) -> list[tuple[str, str, str]]:
    names = sorted({*one, *other})
    return [(name, one.get(name, "absent"), other.get(name, "absent")) for name in names]


def _unlike(pairs: Sequence[tuple[str, str, str]]) -> list[str]:
    return [f"{name} {mine} and not {theirs}" for name, mine, theirs in pairs if mine != theirs]
