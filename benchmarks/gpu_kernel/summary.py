"""The measurements as a table, with what they were measured on."""

import json
import math

import torch

from benchmarks.gpu_kernel.calls import ON_GPU, Measurement
from variants.triton.tuning.table_file import tuned_tables

HEADERS = (
    *("experiment", "shape", "variant", "ms", "over no_bias", "predicted", "tiles visited"),
    "note",
)


def header() -> dict[str, str]:
    """Return what was measured on, and with."""
    import triton

    device = torch.cuda.get_device_name() if ON_GPU else "Triton's interpreter: times mean nothing"
    tiles = "those of an earlier search" if tuned_tables(device) else "the fixed table's"
    versions = {"torch": str(torch.__version__), "triton": triton.__version__}
    return {"device": device, **versions, "tiles": tiles}


def summary(measurements: list[Measurement], about: dict[str, str]) -> str:
    """Return a table: each time over the fastest bias-free SDPA of its shape and experiment."""
    lines = [f"| {' | '.join(HEADERS)} |", "|---" * len(HEADERS) + "|"]
    for each in measurements:
        base = min(
            (
                one.time_ms
                for one in measurements
                if one.time_ms and one.variant.startswith("no_bias")
                if (one.experiment, one.shape) == (each.experiment, each.shape)
            ),
            default=math.nan,
        )
        ratio = (each.time_ms or math.nan) / base
        cells = (
            *(each.experiment, each.shape, each.variant),
            "" if each.time_ms is None else f"{each.time_ms:.3f}",
            "" if math.isnan(ratio) else f"{ratio:.2f}x",
            f"{each.predicted_over_no_bias or ''}",
            "" if each.share is None else f"{each.share:.3f}",
            each.note.replace("|", "/").replace("\n", " "),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([json.dumps(about), "", *lines]) + "\n"
