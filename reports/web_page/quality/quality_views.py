"""The views of a page's quality: which tests are looked at together, and how they look."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from reports.quality.costs import VARIANT_OF
from reports.quality.method_places import AS_TRAINED, SCALED
from reports.quality.rows import QualityRow
from reports.web_page.charts.looks import Look, numbered_look


class QualityView(msgspec.Struct, frozen=True):
    """Tests that are looked at together. `name` stands in addresses and in names of files.

    `looks` are in the order of the legend; a look's `variant` is the name of a row.
    """

    name: str
    title: str
    looks: list[Look]


class _ViewRule(NamedTuple):
    """A view, and whether a row belongs in it."""

    name: str
    title: str
    has: Callable[[QualityRow], bool]


def _is_reference(row: QualityRow) -> bool:
    return (row.method.name, row.test) == ("alibi", AS_TRAINED)


def _is_method(row: QualityRow) -> bool:
    is_main = row.method.name in VARIANT_OF and row.test == AS_TRAINED
    return is_main or (row.method.name, row.test) == ("rope", SCALED)


def _is_scaling(row: QualityRow) -> bool:
    return row.method.name == "rope" and not row.test.tuned


def _is_tuned(row: QualityRow) -> bool:
    return row.test.tuned


def _is_convention(row: QualityRow) -> bool:
    method = row.method
    return method.slopes is not None and method.rotation is None and not row.test.tuned


_RULES = (
    _ViewRule("methods", "position methods", _is_method),
    _ViewRule("scalings", "scalings of RoPE", _is_scaling),
    _ViewRule("tuned", "after a little tuning at a longer length", _is_tuned),
    _ViewRule("conventions", "wrong conventions of ALiBi", _is_convention),
)


def views_of(rows: Sequence[QualityRow]) -> list[QualityView]:
    """Return the views that have a row that no view before has, with ALiBi first in each.

    A view has eight rows at most, so that no two have one colour.
    """
    views: list[QualityView] = []
    for rule in _RULES:
        alike = [row for row in rows if _is_reference(row)]
        alike += [row for row in rows if rule.has(row)]
        names = list(dict.fromkeys(row.name for row in alike))
        shown = {look.variant for view in views for look in view.looks}
        if not shown.issuperset(names):
            looks = [numbered_look(name, number) for number, name in enumerate(names)]
            views.append(QualityView(rule.name, rule.title, looks))
    return views
