"""The steps of a history as rows of words, for report.md: what regressed first, then by size."""

from collections.abc import Iterator

from reports.web_page.over_time.page_history import CellPlace, CellStep, PageHistory

STEP_HEADERS = (
    "change",
    "95% interval",
    "cause",
    "variant",
    "keys",
    "where",
    "first commit",
    "began",
    "why",
)


def step_rows(history: PageHistory) -> Iterator[tuple[str, ...]]:
    """Yield the words of each step, in the order of STEP_HEADERS."""
    began = {device.name: [started for started, _ in device.runs] for device in history.devices}
    steps = [(each.cell, step) for each in history.timelines for step in each.steps]
    for cell, step in sorted(steps, key=_order):
        others = ", ".join(step.other_codes)
        yield (
            f"{100 * step.change:+.1f}%",
            "{:+.1f}% to {:+.1f}%".format(*(100 * end for end in step.change_ci)),
            step.cause,
            cell.variant,
            cell.length,
            f"{cell.device}: {cell.mode}, {cell.dtype}, {cell.model}",
            step.first_code,
            began[cell.device][step.run][:10],
            "; ".join(filter(None, [step.reason, others and f"or the step of {others}"])),
        )


def _order(pair: tuple[CellPlace, CellStep]) -> tuple[bool, float]:
    _, step = pair
    return not step.is_regression, -abs(step.change)
