"""The charts as SVG and PNG: what the page shows as it opens, with the setups beside each other."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import vl_convert

from reports.tables.table import by
from reports.web_page.charts.drawings import height_for
from reports.web_page.charts.kinds import CHARTS, ChartKind, key_ticks, spec_of
from reports.web_page.charts.looks import Look
from reports.web_page.page_cells import PageCell, View, view_of

_COLUMNS = 2
_WIDTH = 460
_PNG_SCALE = 1.5


class Picture(NamedTuple):
    """A chart as SVG text and PNG bytes; `name` is its file's, without an ending."""

    name: str
    title: str
    svg: str
    png: bytes


def pictures(
    cells: Sequence[PageCell], looks: Sequence[Look], view: View, length: int
) -> Iterator[Picture]:
    """Yield a picture of each chart that has something to show in a view.

    The trade-off is drawn at `length`. The maps have all modes, or all models, of the view's dtype.
    """
    for kind in CHARTS:
        shown = [
            cell for cell in cells if _is_in(kind, cell, view, length) and _has_figures(kind, cell)
        ]
        if shown:
            yield _picture(kind, shown, looks)


def _is_in(kind: ChartKind, cell: PageCell, view: View, length: int) -> bool:
    match kind.data:
        case "modes":
            return cell.rank == 1 and (cell.model, cell.dtype) == (view.model, view.dtype)
        case "models":
            return cell.rank == 1 and (cell.mode, cell.dtype) == (view.mode, view.dtype)
        case "length":
            return view_of(cell) == view and cell.kv_len == length
        case _:
            return view_of(cell) == view


def _has_figures(kind: ChartKind, cell: PageCell) -> bool:
    return all((getattr(cell, field) or 0) > 0 for field in kind.fields)


def _picture(kind: ChartKind, cells: Sequence[PageCell], looks: Sequence[Look]) -> Picture:
    present = {cell.variant for cell in cells}
    own = [look for look in looks if look.variant in present]
    return picture_of(kind.name, kind.title, _side_by_side(kind, cells, own))


def picture_of(name: str, title: str, spec: dict[str, Any]) -> Picture:
    """Return the picture of a Vega-Lite chart with its data."""
    svg = vl_convert.vegalite_to_svg(json.dumps(spec))
    png = vl_convert.svg_to_png(svg, scale=_PNG_SCALE)
    return Picture(name, title, str(svg), bytes(png))


def _side_by_side(
    kind: ChartKind, cells: Sequence[PageCell], looks: Sequence[Look]
) -> dict[str, Any]:
    """Return one chart for each setup, with its own cells, under one legend."""
    by_setup = by(lambda cell: cell.setup, cells)
    is_map = kind.data in {"modes", "models"}  # which has names in it
    charts, datasets = [], {"all_shown": _rows(cells)}
    for number, (setup, own) in enumerate(by_setup.items()):
        chart = spec_of(kind, looks, legend=not is_map)
        config, (ticks,) = chart.pop("config"), chart.pop("params")
        if not is_map:
            chart["width"] = _WIDTH
        charts.append(reading(chart, {"shown": f"shown_{number}"}) | {"title": setup})
        if kind.data == "length":
            chart["height"] = height_for(len(own))
        datasets[f"shown_{number}"] = _rows(own)
    return {
        "title": {"text": f"{kind.title}: {_words(kind, cells[0])}", "anchor": "start"},
        "concat": charts,
        "params": [ticks | {"value": key_ticks({cell.kv_len for cell in cells})}],
        "columns": _COLUMNS,
        "datasets": datasets,
        "resolve": {"scale": dict.fromkeys(("color", "shape", "strokeDash"), "shared")},
        "config": config | {"background": "white", "font": "sans-serif"},
    }


def _words(kind: ChartKind, cell: PageCell) -> str:
    """Return what the cells of a chart have in common."""
    match kind.data:
        case "modes":
            return f"{cell.model}, {cell.dtype}"
        case "models":
            return f"{cell.mode}, {cell.dtype}"
        case "length":
            return f"{cell.length} keys, {cell.model}, {cell.mode}, {cell.dtype}"
        case _:
            return f"{cell.model}, {cell.mode}, {cell.dtype}"


def reading(spec: Any, names: Mapping[str, str]) -> Any:
    """Return a chart that reads data of other names: `names` has the new one by the old."""
    if isinstance(spec, dict):
        if spec.keys() == {"name"} and spec["name"] in names:
            return {"name": names[spec["name"]]}
        return {key: reading(value, names) for key, value in spec.items()}
    return [reading(each, names) for each in spec] if isinstance(spec, list) else spec


def _rows(cells: Sequence[PageCell]) -> list[dict[str, Any]]:
    return [{name: getattr(cell, name) for name in cell.__struct_fields__} for cell in cells]
