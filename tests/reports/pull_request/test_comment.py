"""The comment of a pull request: the verdict first, then what changed, and the rest to open."""

from pathlib import Path
from random import Random

import msgspec
import pytest

from reports.pull_request.comment import comment
from reports.pull_request.power import Power
from reports.verdicts.calibration import CountRate
from reports.verdicts.comparison import Comparison
from reports.verdicts.verdict_table import summary
from tests.fakes.console import bench
from tests.records import a_case, a_cell, a_machine, a_pair, a_plan, a_versus, write
from tests.reports.verdicts.test_verdict_table import ALL, EMPTY, FINE, a_line

POWER = Power(0.03, CountRate(172, 200))
SAME = Comparison("main", "this tree", [], ALL.lines[:2])


def test_the_first_line_is_the_verdict_and_what_would_have_been_found() -> None:
    assert comment(FINE, POWER).splitlines()[0] == ("**no regression; +3% would be found in 86%**")
    assert comment(ALL, POWER).startswith("**REGRESSED; +3% would be found in 86%**\n\n")
    assert comment(ALL, None).startswith("**REGRESSED**\n\n")


def test_then_both_sides_and_the_counts_of_verdicts() -> None:
    assert comment(ALL, None).splitlines()[2] == f"this tree against main. {summary(ALL)}."


def test_changed_cells_are_open_and_the_rest_is_folded() -> None:
    opened, _, folded = comment(ALL, POWER).partition("<details>")
    changed = {"c_faster", "d_heavier", "e_less_exact", "f_slower", "g_missing", "h_wrong"}
    for line in ALL.lines:
        assert (line.variant in opened) == (line.variant in changed)
        assert (line.variant in folded) == (line.variant not in changed)
    assert folded.startswith("<summary>2 other cells, of which none changed</summary>\n\n|")
    assert folded.endswith("\n\n</details>")


def test_reasons_stand_beside_their_cells() -> None:
    unmeasured = a_line("i_new", "inconclusive", reason="head has it and base does not")
    both = Comparison("main", "this tree", [], [*ALL.lines, unmeasured])
    opened, _, folded = comment(both, None).partition("<details>")
    assert "- g_missing n512-h8-d64-float32: base has it and head does not" in opened
    assert "- i_new n512-h8-d64-float32: head has it and base does not" in folded


def test_notes_are_not_folded() -> None:
    opened = comment(ALL, None).partition("<details>")[0]
    assert all(note in opened for note in ALL.notes)


def test_where_nothing_changed_there_is_no_open_table() -> None:
    text = comment(SAME, POWER)
    assert "|" not in text.partition("<details>")[0]
    assert "<summary>2 cells, of which none changed</summary>" in text


def test_where_all_changed_nothing_is_folded() -> None:
    assert "<details>" not in comment(Comparison("a", "b", [], ALL.lines[5:]), None)
    assert comment(EMPTY, None).startswith("**NOT JUDGED**")


@pytest.mark.parametrize("verdict", ["missing", "inconclusive"])
def test_markup_in_a_reason_or_a_name_shows_as_text(verdict: str) -> None:
    line = a_line("eager", verdict, reason="</details><b>no")
    text = comment(Comparison("<i>main", "this tree", ["<u>note"], [line]), None)
    assert "&lt;/details>&lt;b>no" in text
    assert "&lt;i>main" in text
    assert "&lt;u>note" in text
    assert text.count("</details>") == (verdict == "inconclusive")


def test_compare_of_pairs_for_github_is_this_comment(tmp_path: Path) -> None:
    random = Random(0)
    case = a_case()
    check = a_cell(case, "eager")[0]
    pairs = (a_pair(case, "eager", n, ratio=random.gauss(1, 0.003)) for n in range(1, 9))
    file = write(
        tmp_path / "pairs.jsonl",
        a_machine(a_plan(case, variants=["eager"])),
        a_versus((8, 16)),
        *(msgspec.structs.replace(check, side=side) for side in ("base", "head")),
        *pairs,
    )
    done = bench("compare", file, "--format", "github")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("**no regression; +2% would be found in ")
    assert "would be found" not in bench("compare", file).stdout
