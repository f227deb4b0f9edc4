"""index.html: the page's values, the charts' library and the files of assets/ in one file.

Everything in it that came from a results file is JSON in which no `<` is left; page.js makes
text nodes of it. The page may open no connection: its policy forbids that to the browser.
"""

from collections.abc import Sequence
from pathlib import Path
from string import Template

import msgspec

from reports.web_page.charts.cell_panel import panel_spec
from reports.web_page.charts.kinds import CHARTS, spec_of
from reports.web_page.page_cells import PageCell
from reports.web_page.page_data import PageData
from reports.web_page.quality.page_quality import HEADING, PageQuality
from reports.web_page.quality.quality_charts import bits_spec, cost_spec

_ASSETS = Path(__file__).with_name("assets")
_PROGRAMS = (
    "state.js",
    "address.js",
    "filters.js",
    "charts.js",
    "tables.js",
    "over_time.js",
    "quality.js",
    "draw.js",
)
GENERATOR = "alibi-bench page"
_TITLE = "Which ALiBi backend is fastest"


def index_page(data: PageData) -> str:
    """Return the text of index.html."""
    return Template(_asset("page.html")).substitute(
        generator=GENERATOR,
        title=_TITLE if data.cells else HEADING,
        heading=data.heading,
        of_races="" if data.cells else " hidden",
        style=_asset("page.css"),
        library=_in_script(_library()),
        data=_in_script(_json(data)),
        program=_in_script("\n".join(map(_asset, _PROGRAMS))),
    )


def _json(data: PageData) -> str:
    history, first = data.history, data.first
    values = {
        "history": history and {**msgspec.to_builtins(history), "panel": panel_spec()},
        "columns": _columns(data.cells),
        "answers": data.answers,
        "looks": data.looks,
        "setups": data.setups,
        "first": first and {**first._asdict(), "length": data.first_length},
        "quality": data.quality and _quality(data.quality),
        "charts": [
            {
                "name": kind.name,
                "title": kind.title,
                "caption": kind.caption,
                "data": kind.data,
                "fields": kind.fields,
                "spec": spec_of(kind, data.looks),
            }
            for kind in CHARTS
        ],
    }
    return msgspec.json.encode(values).decode().replace("<", "\\u003c")


def _quality(quality: PageQuality) -> dict[str, object]:
    """Return the part on quality with a chart for each view, and that of costs, which all share."""
    views = [{**msgspec.to_builtins(view), "spec": bits_spec(view.looks)} for view in quality.views]
    return {
        "heading": HEADING,
        "views": views,
        "files": quality.files,
        "cost": {"looks": quality.views[0].looks, "spec": cost_spec(quality.views[0].looks)},
    }


def _columns(cells: Sequence[PageCell]) -> dict[str, list[object]]:
    """Return the cells by field, which is half the size of a list of cells."""
    return {name: [getattr(cell, name) for cell in cells] for name in PageCell.__struct_fields__}


def _library() -> str:
    """Return the JavaScript of Vega, Vega-Lite and vega-embed, which vl-convert has with it."""
    from vl_convert import javascript_bundle

    return str(javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _in_script(text: str) -> str:
    """Return text that can't end the script element that it stands in."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
