"""The doctor's report: this machine, the variants that run here, and what spoils measurements."""

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from suite.conditions.health import Trouble
from suite.conditions.nvml import Absent, GpuState
from suite.conditions.policy import Circumstances
from suite.probe.probe import MODES, ProbeResult
from variants.host.hardware import Gpu, Hardware


def machine_lines(
    hardware: Hardware,
    software: dict[str, str],
    circumstances: Circumstances,
    gpu: GpuState | Absent,
) -> str:
    """Return a table of the machine: device, software, Python, container and GPU state."""
    lines = [
        ("device", hardware.name),
        ("hardware key", hardware.key),
        ("features", _features(hardware)),
        ("software", ", ".join(f"{name} {version}" for name, version in software.items())),
        ("python", f"{circumstances.python} on Linux {circumstances.kernel}"),
        ("container", "yes" if circumstances.container else "no"),
        ("GPU", gpu.reason if isinstance(gpu, Absent) else _gpu(gpu)),
    ]
    return tabulate(lines, tablefmt="plain", disable_numparse=True)


def variants(results: Sequence[ProbeResult]) -> str:
    """Return a table of the variants that were tried, and the reasons of those that don't run."""
    lines = [
        (result.variant, result.mode, "runs" if result.status == "measured" else result.status)
        for result in results
        if result.status != "skipped"
    ]
    by_reason: dict[tuple[str, str], dict[str, list[str]]] = {}
    for result in results:
        if result.status != "measured":
            modes = by_reason.setdefault((result.status, result.reason), {})
            modes.setdefault(result.variant, []).append(result.mode)
    reasons = [f"{_names(modes)} {status}: {why}" for (status, why), modes in by_reason.items()]
    table = tabulate(lines, ("variant", "mode", "")) if lines else ""
    return "\n\n".join(filter(None, (table, "\n".join(reasons))))


def _names(modes_by_variant: Mapping[str, Sequence[str]]) -> str:
    """Return variants with their mode, and without it where it is every mode."""
    return ", ".join(
        variant if len(modes) == len(MODES) else f"{variant} {modes[0]}"
        for variant, modes in modes_by_variant.items()
    )


def troubles(causes: Sequence[Trouble]) -> str:
    """Return a line for each cause that spoils measurements, and a line with its remedy."""
    if not causes:
        return "Nothing here spoils measurements."
    return "\n".join(f"! {cause.what}\n  -> {cause.help}" for cause in causes)


def _features(hardware: Hardware) -> str:
    if isinstance(hardware, Gpu):
        l2_mib = hardware.l2_bytes / 2**20
        return f"compute capability {hardware.capability}, L2 cache {l2_mib:.0f} MiB"
    return ", ".join(hardware.features) or "none of those that matter"


def _gpu(gpu: GpuState) -> str:
    power = f"{_text(gpu.power_w, 'W')} of {_text(gpu.power_limit_w, 'W')}"
    parts = (
        _text(gpu.name),
        f"driver {_text(gpu.driver)}",
        f"MIG {_text(gpu.mig)}",
        f"ECC {_text(gpu.ecc)}",
        f"power {power} (default {_text(gpu.power_limit_default_w, 'W')})",
        f"SM clock {_text(gpu.sm_clock_mhz, 'MHz')} of {_text(gpu.sm_clock_max_mhz, 'MHz')}",
        f"other processes {_text(gpu.processes)}",
        f"clocks held down by {_text(gpu.slowed_by)}",
    )
    return ", ".join(parts)


def _text(value: str | float | tuple[str, ...] | Absent, unit: str = "") -> str:
    match value:
        case Absent():
            return "unknown"
        case bool():
            return "on" if value else "off"
        case tuple():
            return " and ".join(value) or "nothing"
        case str():
            return value
        case _:
            return f"{value:.0f} {unit}".rstrip()
