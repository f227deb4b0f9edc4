"""Tests that are looked at together: ALiBi as trained is in every view, and no colour is twice."""

from reports.quality.rows import rows_of
from reports.web_page.quality.quality_views import views_of
from suite.quality.design import QUICK
from tests.quality_files import results

VIEWS = {view.name: view for view in views_of(rows_of(results()))}


def names(view: str) -> list[str]:
    """Return the names of a view, in the order of its legend."""
    return [look.variant for look in VIEWS[view].looks]


def test_methods_are_as_trained_with_yarn_beside_them() -> None:
    assert names("methods") == [
        "ALiBi",
        "RoPE",
        "RoPE, YaRN",
        "sinusoidal",
        "ALiBi and RoPE",
        "T5's bias",
        "none",
    ]


def test_scalings_have_no_tuned_model_and_tuned_models_are_together() -> None:
    assert len(names("scalings")) == 7
    assert not any("tuned" in name for name in names("scalings"))
    assert names("tuned")[:3] == ["ALiBi", "ALiBi, tuned at 512", "RoPE, tuned at 512"]
    assert len(names("tuned")) == 6


def test_wrong_conventions_are_beside_the_right_one() -> None:
    assert names("conventions")[0] == "ALiBi"
    assert "ALiBi, tested / sqrt(d)" in names("conventions")
    assert "ALiBi, 12 heads, tested by literal rule" in names("conventions")
    assert not any("RoPE" in name for name in names("conventions"))


def test_every_test_is_in_a_view_and_alibi_is_first_in_each() -> None:
    every = {look.variant for view in VIEWS.values() for look in view.looks}
    assert every == {row.name for row in rows_of(results())}
    assert all(view.looks[0].variant == "ALiBi" for view in VIEWS.values())


def test_no_two_tests_of_a_view_share_a_colour() -> None:
    for view in VIEWS.values():
        assert len({look.colour for look in view.looks}) == len(view.looks) <= 8


def test_a_view_that_adds_nothing_is_left_out() -> None:
    (view,) = views_of(rows_of(results(QUICK)))
    assert [look.variant for look in view.looks] == ["ALiBi", "RoPE", "RoPE, YaRN", "sinusoidal"]
