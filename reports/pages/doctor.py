"""The doctor's report: this machine, the variants that run here, and what spoils measurements."""

from collections.abc import Sequence

from tabulate import tabulate

from suite.conditions.health import Trouble
from suite.conditions.nvml import Absent, GpuState
from suite.conditions.policy import Circumstances
from suite.probe.probe import ProbeResult
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
    """Return a table of the variants by mode, and the reasons of those that don't run here."""
    lines = [
        (result.variant, result.mode, "runs" if result.status == "measured" else result.status)
        for result in results
    ]
    cells_by_reason: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.status != "measured":
            cells = cells_by_reason.setdefault((result.status, result.reason), [])
            cells.append(f"{result.variant} {result.mode}")
    reasons = [
        f"{', '.join(cells)} {status}: {reason}"
        for (status, reason), cells in cells_by_reason.items()
    ]
    return "\n\n".join(filter(None, (tabulate(lines, ("variant", "mode", "")), "\n".join(reasons))))


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
