"""The charts of a page's quality as SVG and PNG: each view of each file, and quality by cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from reports.tables.table import by
from reports.web_page.charts.images import Picture, picture_of, reading
from reports.web_page.charts.layers import KEY_TICKS
from reports.web_page.charts.looks import Look
from reports.web_page.quality.page_quality import (
    CostPoint,
    FileQuality,
    PageQuality,
    QualityPoint,
    SetupCosts,
)
from reports.web_page.quality.quality_charts import bits_spec, cost_spec
from reports.web_page.quality.quality_views import QualityView

_WIDTH = 460
_COST_WIDTH = 300


def quality_pictures(quality: PageQuality) -> Iterator[Picture]:
    """Yield a picture for each view that a file has something of, and for each setup with costs."""
    for number, file in enumerate(quality.files, start=1):
        mark = f"-{number}" if len(quality.files) > 1 else ""
        for view in quality.views:
            spec = _bits_by_length(file, view)
            if spec is not None:
                title = f"Bits per byte by tested length: {view.title}"
                yield picture_of(f"quality{mark}-{view.name}", title, spec)
        for place, costs in enumerate(file.costs, start=1):
            ending = f"-{place}" if len(file.costs) > 1 else ""
            if costs.points:
                title = f"Quality against cost: {costs.setup}"
                spec = _bits_by_cost(file, costs, quality.views[0])
                yield picture_of(f"quality{mark}-cost{ending}", title, spec)


def _bits_by_length(file: FileQuality, view: QualityView) -> dict[str, Any] | None:
    """Return a chart for each measure beside the other.

    None if a file has nothing of a view, or only the first of several, which stands in each view.
    """
    names = {look.variant for look in view.looks}
    points = [point for point in file.points if point.series in names]
    looks = _looks_of(view, points)
    if len(looks) < min(2, len(names)):
        return None
    titles = {table.measure: table.title for table in file.tables}
    panels = by(lambda point: titles[point.measure], points)
    ticks = {"name": KEY_TICKS, "value": sorted({point.length for point in points})}
    spec = bits_spec(looks, legend=True)
    title = f"Bits per byte, {view.title}: {file.name}"
    return _side_by_side(spec, panels, title, _WIDTH) | {"params": [ticks]}


def _bits_by_cost(file: FileQuality, costs: SetupCosts, view: QualityView) -> dict[str, Any]:
    """Return a chart for each length beside the others."""
    panels = by(lambda it: f"{it.multiple}x the trained length: {it.length} tokens", costs.points)
    spec = cost_spec(_looks_of(view, costs.points), legend=True)
    title = f"Quality against cost, {costs.setup}: {file.name}"
    return _side_by_side(spec, panels, title, _COST_WIDTH)


def _looks_of(view: QualityView, points: Sequence[QualityPoint | CostPoint]) -> list[Look]:
    names = {point.series for point in points}
    return [look for look in view.looks if look.variant in names]


def _side_by_side(
    spec: dict[str, Any], panels: Mapping[str, Sequence[msgspec.Struct]], title: str, width: int
) -> dict[str, Any]:
    """Return a chart for each panel, by its title, with its own data, under one legend."""
    spec.pop("params", None)
    config = spec.pop("config")
    charts, datasets = [], {"all_shown": [_row(it) for own in panels.values() for it in own]}
    for number, (words, own) in enumerate(panels.items()):
        charts.append(
            reading(spec, {"shown": f"shown_{number}"}) | {"title": words, "width": width}
        )
        datasets[f"shown_{number}"] = [_row(each) for each in own]
    return {
        "title": {"text": title, "anchor": "start"},
        "concat": charts,
        "columns": len(panels),
        "datasets": datasets,
        "resolve": {"scale": dict.fromkeys(("color", "shape", "strokeDash"), "shared")},
        "config": config | {"background": "white", "font": "sans-serif"},
    }


def _row(point: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(point, name) for name in point.__struct_fields__}
