"""docs/lengths.md says what results/lengths/ has, and the published models hold what it claims."""

import re
from pathlib import Path

import pytest

from reports.generated.write import LENGTHS
from reports.quality.published_pages import COSTS, pages
from reports.quality.rows import Bits, QualityRow, rows_of, title_of
from suite.conditions.policy import ROOT
from suite.quality.methods import SCALINGS, WRONG_SLOPES, Change
from suite.quality.results import read

FILES = [path for path in sorted(LENGTHS.glob("*.jsonl")) if path.name != COSTS]
RESULTS = read(LENGTHS / "default.jsonl")
ROWS = rows_of(RESULTS)
PAGE = (ROOT / "docs" / "lengths.md").read_text()
DESIGN = RESULTS.header.design
SHORT, LONG = DESIGN.lengths[0], DESIGN.lengths[-1]
TUNED: tuple[Change, ...] = ("yarn", "none", "pi", "ntk")


def row(method: str, length: int, change: Change = "none", *, tuned: bool = False) -> QualityRow:
    (found_row,) = [
        each
        for each in ROWS
        if (each.method.name, each.length, *each.test) == (method, length, change, tuned)
    ]
    return found_row


def same(method: str, length: int, change: Change = "none", *, tuned: bool = False) -> Bits:
    return row(method, length, change, tuned=tuned).on_same_targets


def difference(one: Bits, other: Bits) -> Bits:
    paired = one.less(other)
    assert paired is not None
    return paired


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_published_file_is_whole(path: Path) -> None:
    results = read(path)
    assert results.warnings == []
    assert results.faults == []
    seeds = {each.seed for each in results.qualities}
    for method, seed in results.header.design.models():
        if seed in seeds:
            wanted = set(results.header.design.tests(method))
            assert results.tests_done(method, seed) == wanted, (method.name, seed)


def test_the_tables_and_the_picture_are_what_make_docs_writes() -> None:
    generated = pages(LENGTHS)
    for path, text in generated.items():
        assert path.read_text() == text, f"{path.name}: run make docs"
    assert {p for p in LENGTHS.iterdir() if p.suffix in {".md", ".svg"}} == set(generated)


def published_lines(path: Path) -> dict[str, list[str]]:
    """Return the cells of a published file's table, both measures in each, by the row's name."""
    lines: dict[str, list[str]] = {}
    for each in rows_of(read(path)):
        title = title_of(each.test, DESIGN.tuned_len)
        name = f"{each.method.title}, {title}" if title else each.method.title
        lines.setdefault(name, []).append(
            f"{each.by_windows.mean:.3f} / {each.on_same_targets.mean:.3f}"
        )
    return lines


def test_every_row_of_the_page_s_tables_is_published() -> None:
    published = [published_lines(LENGTHS / f"{name}.jsonl") for name in ("default", "prose")]
    rows = re.findall(r"^\| ([^|]+?) \|((?: \d\.\d{3} / \d\.\d{3} \|)+)$", PAGE, re.MULTILINE)
    assert len(rows) >= 20
    for name, cells in rows:
        written = [cell.strip() for cell in cells.strip("|").split("|")]
        assert written in [lines.get(name) for lines in published], name


def test_the_page_names_the_number_of_seeds() -> None:
    seeds = len({each.seed for each in RESULTS.qualities})
    words = {1: "One seed", 2: "Two seeds", 3: "Three seeds"}[seeds]
    assert f"{words} of {DESIGN.seeds} that the default has" in PAGE or seeds == DESIGN.seeds


def test_alibi_is_as_good_at_sixteen_times_its_length_and_no_better_on_the_same_targets() -> None:
    gain = difference(same("alibi", LONG), same("alibi", SHORT))
    assert all(abs(each) <= 0.015 for each in gain.by_seed.values())
    by_windows = difference(row("alibi", LONG).by_windows, row("alibi", SHORT).by_windows)
    assert all(each < -0.01 for each in by_windows.by_seed.values())


@pytest.mark.parametrize("change", WRONG_SLOPES)
def test_a_wrong_convention_costs_far_more_than_seeds_differ(change: Change) -> None:
    right = same("alibi", SHORT)
    cost = difference(same("alibi", SHORT, change), right)
    assert min(cost.by_seed.values()) >= 0.05
    assert min(cost.by_seed.values()) > 2 * (right.half_range or 0.0)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling_is_rope_at_the_trained_length(scaling: Change) -> None:
    assert row("rope", SHORT, scaling).by_windows == row("rope", SHORT).by_windows
    assert same("rope", SHORT, scaling) == same("rope", SHORT)


def test_at_twice_the_length_yarn_is_before_ntk_before_pi_before_rope_itself() -> None:
    order: tuple[Change, ...] = ("yarn", "ntk", "pi", "none")
    bits = [row("rope", 2 * SHORT, change).by_windows.mean for change in order]
    assert bits == sorted(bits)


@pytest.mark.parametrize("length", DESIGN.lengths)
def test_alibi_with_rope_is_better_than_either_at_every_length(length: int) -> None:
    for other in ("alibi", "rope"):
        gain = difference(same("alibi_rope", length), same(other, length))
        assert max(gain.by_seed.values()) < 0


def test_the_page_says_what_long_takes_by_the_published_cpu_seconds() -> None:
    learned_s = 10 * sum(training.cpu_s for training in RESULTS.trainings)
    assert f"{round(learned_s, -2):,.0f} for ten times the training" in " ".join(PAGE.split())
    assert learned_s + 4000 == pytest.approx(2 * 3.5 * 3600, rel=0.05)


def test_every_cost_on_the_page_is_published() -> None:
    flowing = " ".join(PAGE.split())
    costs = re.findall(r"\d\.\d\dx \(\d\.\d\d to \d\.\d\d\)", flowing)
    published = (LENGTHS / COSTS).with_suffix(".md").read_text()
    assert len(costs) >= 15
    assert [cost for cost in costs if cost not in published] == []


def span(bits: Bits) -> str:
    """Return the least and the most of differences as the page writes them."""
    ends = sorted(abs(end) for end in (bits.low, bits.high))
    return "{:.3f} to {:.3f}".format(*ends)


FAR = (256, LONG)
CLAIMS = [
    *(difference(same("rope", length), same("rope", SHORT)) for length in FAR),
    *(difference(same("rope", n, "yarn"), same("rope", SHORT)) for n in (256, 512, LONG)),
    *(difference(same("rope", n, "pi"), same("rope", SHORT)) for n in (256, 512, LONG)),
    *(
        difference(same("rope", 512, change, tuned=True), same("alibi", 512, tuned=True))
        for change in TUNED
    ),
    difference(same("rope", SHORT, tuned=True), same("rope", SHORT)),
    *(difference(same("alibi", n), same("alibi_rope", n)) for n in (SHORT, LONG)),
    *(difference(same("alibi", n), same("t5", n)) for n in (SHORT, *FAR)),
    *(
        difference(row("alibi", n, change).by_windows, row("alibi", n).by_windows)
        for change in WRONG_SLOPES
        for n in (SHORT, LONG)
    ),
    difference(row("sinusoidal", SHORT).by_windows, row("alibi", SHORT).by_windows),
    difference(row("nope", SHORT).by_windows, row("alibi", SHORT).by_windows),
]


@pytest.mark.parametrize("claim", CLAIMS, ids=span)
def test_a_range_over_seeds_on_the_page_is_published(claim: Bits) -> None:
    assert span(claim) in " ".join(PAGE.split())
