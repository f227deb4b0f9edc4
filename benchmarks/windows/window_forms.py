"""The time of a row in each form of a window, by the window's width and the rows that share it.

    python benchmarks/windows/window_forms.py

Times the two forms in which sdpa_window computes windows on the CPU: `windows` is one call of stock
SDPA with a mask for each row, `blocks` is two calls that are merged. Both take turns; a figure is
the median, over two heads of 64. variants/sdpa_window/band_attention.py picks the cheaper form by
these figures.
"""

import statistics

import torch
from tabulate import tabulate
from torch.utils.benchmark import Timer

from suite.agreement.inputs import draw, spec_of
from suite.cases.case import Case, Dtype
from variants.norms import BLOCK
from variants.sdpa_window.band_attention import _windows
from variants.sdpa_window.bias_masks import masks_of
from variants.sdpa_window.wide_windows import attend_blocks

WIDTHS: dict[Dtype, tuple[int, ...]] = {
    "bfloat16": (192, 640, 1408, 2688, 5376),
    "float32": (192, 1024, 2048, 4096, 8192),
}
HEIGHTS = {_windows: (64, 128, 256), attend_blocks: (256, 512, 768)}
ROWS, HEADS, HEAD_DIM = 6 * 768, 2, 64
ROUNDS, TURN_S = 5, 0.05
DEEP = torch.full((HEADS,), 1e9)  # nothing is left out


def main() -> None:
    """Print nanoseconds for a row of one head: a line for each form, a column for each width."""
    for dtype, widths in WIDTHS.items():
        columns = [costs_ns(dtype, width) for width in widths]
        rows = [[name, *(round(column[name]) for column in columns)] for name in columns[0]]
        print(
            f"{dtype}, ns a row", tabulate(rows, ["width", *map(str, widths)]), sep="\n", flush=True
        )


def costs_ns(dtype: Dtype, width: int) -> dict[str, float]:
    """Return the nanoseconds of a row of one head, by form."""
    before, device = width - BLOCK, torch.device("cpu")
    case = Case(
        heads=HEADS,
        kv_heads=HEADS,
        head_dim=HEAD_DIM,
        q_len=before + ROWS,
        kv_len=before + ROWS,
        dtype=dtype,
    )
    inputs, spec = draw(case, 0, "before", device), spec_of(case, device)
    masks = masks_of(spec, 256, width + 256)(torch.tensor([2.0**-7, 2.0**-8]), DEEP)
    q, out = inputs.q[:, :, before:], torch.empty_like(inputs.q[:, :, before:])
    forms = {
        f"{form.__name__.strip('_').removeprefix('attend_')} of {height}": (form, height)
        for form, heights in HEIGHTS.items()
        for height in heights
    }
    timers = {
        name: Timer(
            "form(*tensors, masks, out, height, scale)",
            globals={
                "form": form,
                "tensors": (q, inputs.k, inputs.v),
                "masks": masks,
                "out": out,
                "height": height,
                "scale": spec.scale,
            },
            num_threads=torch.get_num_threads(),
        )
        for name, (form, height) in forms.items()
    }
    turns: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            turns[name].append(timer.blocked_autorange(min_run_time=TURN_S).median)
    return {name: 1e9 * statistics.median(taken) / ROWS / HEADS for name, taken in turns.items()}


if __name__ == "__main__":
    main()
