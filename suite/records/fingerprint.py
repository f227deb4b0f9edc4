"""The header of a run, and the differences between headers that forbid a comparison.

Runs are comparable if hardware, software and policy are equal. `run_header` makes the header that
opens a results file. `check_resumable` holds a file to be continued against this machine, and
`refuse_mixed` holds several files against each other.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from suite.cases import parse
from suite.cases.plan import Plan
from suite.conditions import nvml, policy
from suite.conditions.device import Device
from suite.failures import BadRequest
from suite.kernels.user_kernels import check_unchanged, variants_beside
from suite.recordings import names as recordings
from suite.records.record import SCHEMA, RunHeader
from suite.records.store import Results, is_duel_record
from variants.catalog import PEERS
from variants.host.software import peer_versions, software, with_driver

_PACKAGES_OF_PEERS = {variant.package for variant in PEERS}
"""Runs that lack some of them can be compared: they raced no variant that needs them."""


def run_header(
    plan: Plan, argv: Sequence[str], device: Device, others: Mapping[str, str] | None = None
) -> RunHeader:
    """Return the header of a run that starts now on `device`.

    `others` are the versions that lanes of other interpreters have. Of an absolute path in the
    command line only the last name stays: results are shared, and a person's folders are private.
    """
    return RunHeader(
        schema=SCHEMA,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        argv=tuple(without_folders(word) for word in argv),
        hardware=device.hardware,
        software=software() | peer_versions(_variants_here(plan)) | dict(others or {}),
        policy=policy.policy(device.kind, device.hardware.cores),
        circumstances=policy.circumstances(_gpu_facts(device), device.uuid),
        plan=plan,
    )


def without_folders(word: str) -> str:
    """Return a word of a command line with the last name of each absolute path in it."""
    return re.sub(r"(^|[=,])/(?:[^/,?]*/)*", r"\1", word)


def _variants_here(plan: Plan) -> list[str]:
    """Return the variants whose lanes have this interpreter."""
    elsewhere = {name for name, _ in plan.pythons}
    return [name for name in plan.variants if name not in elsewhere]


def check_resumable(before: RunHeader, now: RunHeader) -> None:
    """Raise BadRequest unless the run with header `before` can be continued by a run now.

    It can't if hardware, software, policy or code differ, because a mean over two of them is the
    speed of neither, or if a variant is no longer in the catalog.
    """
    phrases = differences(now, before)
    phrases += _phrases([("code", now.circumstances.code, before.circumstances.code)])
    if phrases:
        differs = "; ".join(phrases)
        raise BadRequest(f"--resume: this is {differs}; start a new run without --resume")
    check_unchanged(before.plan.kernels, "--resume")
    named = (case.recording for case in before.plan.cases if case.recording)
    recordings.check_unchanged(named, "--resume")
    names = [variant.name for variant in variants_beside(before.plan.kernels)]
    for name in before.plan.variants:
        parse.name("--resume: variant", name, names)


def refuse_mixed(files: Sequence[Results]) -> None:
    """Raise BadRequest unless all files are runs of one device, software, driver and policy."""
    first = files[0]
    for file in files:
        if any(is_duel_record(record) for record in file.records):
            raise BadRequest(f"{file.path}: a file of pairs and no run's")
        phrases = differences(with_gpu_driver(file.header), with_gpu_driver(first.header))
        if phrases:
            raise BadRequest(
                f"{file.path} beside {first.path}: {'; '.join(phrases)}; "
                "name files of one device, software and policy"
            )


def differences(first: RunHeader, second: RunHeader) -> list[str]:
    """Return the differences that make two runs incomparable, a phrase for each."""
    values = [("hardware key", first.hardware.key, second.hardware.key)]
    values += _by_name(first.software, second.software)
    values += [
        (field, str(getattr(first.policy, field)), str(getattr(second.policy, field)))
        for field in first.policy.__struct_fields__
    ]
    return _phrases(values)


def software_differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """Return the packages whose versions differ, a phrase for each."""
    return _phrases(_by_name(first, second))


def software_of_ours(header: RunHeader) -> dict[str, str]:
    """Return the software that variants of ours computed with: without that of peers alone."""
    return {
        name: version
        for name, version in header.software.items()
        if name not in _PACKAGES_OF_PEERS and " of " not in name
    }


def with_gpu_driver(header: RunHeader) -> RunHeader:
    """Return the header with the GPU driver's version among its software, if it is known."""
    driver = header.circumstances.gpu.get("driver", "unknown")
    software = with_driver(header.software, None if driver == "unknown" else driver)
    return msgspec.structs.replace(header, software=software)


def _gpu_facts(device: Device) -> dict[str, str]:
    state = nvml.gpu_state(device.uuid)
    if isinstance(state, nvml.Absent):
        return {}
    return {name: nvml.in_words(value) for name, value in vars(state).items()}


def _by_name(first: Mapping[str, str], second: Mapping[str, str]) -> list[tuple[str, str, str]]:
    names = sorted({*first, *second} - _PACKAGES_OF_PEERS | {*first} & {*second})
    return [(name, first.get(name, "absent"), second.get(name, "absent")) for name in names]


def _phrases(values: Sequence[tuple[str, str, str]]) -> list[str]:
    return [f"{name} {value} and not {other}" for name, value, other in values if value != other]
