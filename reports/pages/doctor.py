"""The doctor's report: this machine, the variants that run here, and what spoils measurements."""

from collections.abc import Mapping, Sequence

from reports.text.grid import GridColumn, grid
from reports.text.paragraph import paragraph
from reports.text.screen import IN_A_PIPE, Screen
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
    screen: Screen = IN_A_PIPE,
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
    room = max(len(name) for name, _ in lines) + 2
    return "\n".join(
        paragraph(text, screen.width, " " * room, name.ljust(room)) for name, text in lines
    )


def variants(results: Sequence[ProbeResult], screen: Screen = IN_A_PIPE) -> str:
    """Return a table of the variants that were tried, and the reasons of those that don't run."""
    by_variant: dict[str, dict[str, str]] = {}
    by_reason: dict[tuple[str, str], dict[str, list[str]]] = {}
    for result in results:
        if result.status != "skipped":
            runs = "runs" if result.status == "measured" else result.status
            by_variant.setdefault(result.variant, {})[result.mode] = runs
        if result.status != "measured":
            modes = by_reason.setdefault((result.status, result.reason), {})
            modes.setdefault(result.variant, []).append(result.mode)
    columns = [
        GridColumn("variant", list(by_variant)),
        *(
            GridColumn(mode, [outcomes.get(mode, "") for outcomes in by_variant.values()])
            for mode in MODES
        ),
    ]
    reasons = [
        paragraph(f"{_names(modes)} {status}: {why}", screen.width, "  ")
        for (status, why), modes in by_reason.items()
    ]
    table = grid(columns, screen.width) if by_variant else ""
    return "\n\n".join(filter(None, (table, "\n".join(reasons))))


def _names(modes_by_variant: Mapping[str, Sequence[str]]) -> str:
    """Return variants with their mode, and without it where it is every mode."""
    return ", ".join(
        variant if len(modes) == len(MODES) else f"{variant} {modes[0]}"
        for variant, modes in modes_by_variant.items()
    )


def troubles(causes: Sequence[Trouble], screen: Screen = IN_A_PIPE) -> str:
    """Return a line for each cause that spoils measurements, and a line with its remedy."""
    if not causes:
        return "Nothing here spoils measurements."
    return "\n".join(
        paragraph(text, screen.width, "     ", mark)
        for cause in causes
        for mark, text in (("! ", cause.what), ("  -> ", cause.help))
    )


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
