"""Who measured: the record that opens a run, and what forbids comparing two runs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from suite.cases import parse
from suite.cases.plan import Plan
from suite.conditions import nvml, policy
from suite.conditions.device import Device
from suite.failures import BadRequest
from suite.records.record import SCHEMA, RunHeader
from suite.records.store import Results, is_of_pairs
from variants.catalog import CATALOG
from variants.host.software import software, with_driver


def run_header(plan: Plan, argv: Sequence[str], device: Device) -> RunHeader:
    """Return the header of a run that starts now on `device`."""
    return RunHeader(
        schema=SCHEMA,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        argv=tuple(argv),
        hardware=device.hardware,
        software=software(),
        policy=policy.policy(device.kind, device.hardware.cores),
        circumstances=policy.circumstances(_gpu_facts(device)),
        plan=plan,
    )


def _gpu_facts(device: Device) -> dict[str, str]:
    with nvml.open_gpu(device.uuid) as gpu:
        if isinstance(gpu, nvml.Absent):
            return {}
        return {name: nvml.in_words(value) for name, value in vars(gpu.state()).items()}


def differences(one: RunHeader, other: RunHeader) -> list[str]:
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


def check_resumable(before: RunHeader, now: RunHeader) -> None:
    """Raise BadRequest unless a run begun by `before` can go on here and now."""
    differing = differences(now, before)
    if differing:
        differs = "; ".join(differing)
        raise BadRequest(f"--resume: this is {differs}; start a new run without --resume")
    for name in before.plan.variants:
        parse.name("--resume: variant", name, (variant.name for variant in CATALOG))


def refuse_mixed(files: Sequence[Results]) -> None:
    """Raise BadRequest unless files are runs of one device, software, driver and policy."""
    first = files[0]
    for file in files:
        if any(is_of_pairs(record) for record in file.records):
            raise BadRequest(f"{file.path}: a file of pairs and no run's")
        if differing := differences(with_its_driver(file.header), with_its_driver(first.header)):
            raise BadRequest(
                f"{file.path} beside {first.path}: {'; '.join(differing)}; "
                "name files of one device, software and policy"
            )


def with_its_driver(header: RunHeader) -> RunHeader:
    """Return a machine whose software has a GPU's driver too."""
    driver = header.circumstances.gpu.get("driver", "unknown")
    software = with_driver(header.software, None if driver == "unknown" else driver)
    return msgspec.structs.replace(header, software=software)
