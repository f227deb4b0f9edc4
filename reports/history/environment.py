"""What besides the code may move a time between runs: software, driver, power limit, policy."""

from collections.abc import Mapping

import msgspec

from suite.records.fingerprint import (
    software_differences,
    software_of_ours,
    with_gpu_driver,
)
from suite.records.record import RunHeader
from variants.catalog import PEERS
from variants.host.hardware import Gpu, Hardware

_PACKAGES = {variant.name: variant.package for variant in PEERS}


def machine_key(hardware: Hardware) -> str:
    """Return a hardware key without a GPU's power limit, whose change may make a step."""
    if isinstance(hardware, Gpu) and hardware.power_limit_w is not None:
        return hardware.key.removesuffix(f"-{hardware.power_limit_w}w")
    return hardware.key


def environment(header: RunHeader, variant: str) -> dict[str, str]:
    """Return by name what a variant's time rests on in a run, beside the hardware and the code.

    That is torch and what computes with it, a peer's own package, the GPU's driver and power limit,
    a CPU's governor, and the policy.
    """
    whole = with_gpu_driver(header)
    package = _PACKAGES.get(variant)
    named = {} if package is None else {package: whole.software.get(package, "absent")}
    hardware = header.hardware
    power = (
        {"power limit": f"{hardware.power_limit_w} W"}
        if isinstance(hardware, Gpu)
        else {"governor": header.circumstances.governor}
    )
    policy = {name: str(value) for name, value in msgspec.structs.asdict(header.policy).items()}
    return software_of_ours(whole) | named | power | policy


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return in words how one environment differs from the one before; empty if it does not."""
    return "; ".join(software_differences(after, before))
