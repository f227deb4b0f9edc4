"""A file goes into its device's folder, with table, index, picture and selection made anew."""

from pathlib import Path

import msgspec
import pytest

from reports.generated.write import pages
from reports.publishing.filing import Filing, filings, name_of
from reports.publishing.neighbours import neighbour_findings
from suite.cases.sweeps import SWEEPS
from suite.failures import BadRequest
from suite.records.store import Results, read
from tests.fakes.console import Exit, bench
from tests.records import a_case, a_plan, write
from tests.reports.publishing.good_file import CASE, VARIANTS, a_good_file, a_header, good_records
from tests.reports.table_text import flat
from tests.variants.selections import a_gpu
from variants.selection.files import read as read_selection

KEY = "cpu-invented-2cores"


def file_results(results: Results, root: Path, name: str = "first") -> Filing:
    (filing,) = filings([results], name, root)
    filing.write()
    return filing


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(it.relative_to(root)): it.read_bytes() for it in root.rglob("*") if it.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root of a checkout in which nothing is published."""
    root = tmp_path / "checkout"
    root.mkdir()
    return root


@pytest.fixture
def checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the command line publish into `root`."""
    monkeypatch.setattr("suite.conditions.policy.ROOT", root)
    return root


def publish(*words: object) -> Exit:
    return bench("publish", *words)


def test_a_file_is_filed_with_table_index_picture_and_selection(tmp_path: Path, root: Path) -> None:
    good = a_good_file(tmp_path / "mine.jsonl")
    file_results(good, root)
    folder = root / "results" / "published" / KEY
    assert set(snapshot(root)) == {
        *(f"results/published/{KEY}/{it}" for it in ("first.jsonl", "first.md", "README.md")),
        f"results/published/{KEY}/ratio.svg",
        f"selections/{KEY}.json",
    }
    assert (folder / "first.jsonl").read_bytes() == good.path.read_bytes()
    assert {path: path.read_text() for path in pages(folder)} == pages(folder)
    chosen = read_selection(root / "selections" / f"{KEY}.json")
    assert [choice.variant for choice in chosen.choices] == ["eager"]


def test_a_second_file_renews_the_index_of_both(tmp_path: Path, root: Path) -> None:
    file_results(a_good_file(tmp_path / "mine.jsonl"), root)
    again = a_good_file(tmp_path / "again.jsonl", ms=1.1)
    assert neighbour_findings(again, root) == []
    file_results(again, root, "second")
    index = (root / "results" / "published" / KEY / "README.md").read_text()
    assert "[first](first.jsonl)" in index
    assert "[second](second.jsonl)" in index


@pytest.mark.parametrize("name", SWEEPS)
def test_the_name_is_that_of_the_sweep_on_old_gpus_too(name: str) -> None:
    for sweep in (SWEEPS[name], SWEEPS[name].in_half("float16")):
        header = msgspec.structs.replace(a_header(), plan=a_plan(*sweep.cases()))
        assert name_of(Results(Path("x.jsonl"), header, [], [])) == name


def test_a_file_of_no_sweep_needs_a_name(tmp_path: Path, root: Path) -> None:
    good = a_good_file(tmp_path / "mine.jsonl")
    with pytest.raises(BadRequest, match="of no sweep; say what they are, such as --name"):
        filings([good], None, root)
    for name in ("Mine", "a/b", "../x", "a" * 61, "-x"):
        with pytest.raises(BadRequest, match="give small letters, digits and hyphens"):
            filings([good], name, root)


def test_a_name_that_is_taken_is_refused_and_another_is_proposed(
    tmp_path: Path, root: Path
) -> None:
    file_results(a_good_file(tmp_path / "mine.jsonl"), root)
    with pytest.raises(BadRequest, match=r"first\.jsonl is there already; .* --name first-2"):
        filings([a_good_file(tmp_path / "again.jsonl", ms=1.1)], "first", root)


def test_the_command_files_a_good_file_and_says_what_comes_next(
    tmp_path: Path, checkout: Path
) -> None:
    done = publish(a_good_file(tmp_path / "mine.jsonl").path, "--name", "mine")
    assert done.returncode == 0, done.stderr
    assert f"Published: results/published/{KEY}/mine.jsonl" in done.stdout
    assert "open a pull request" in done.stdout
    assert (checkout / "results" / "published" / KEY / "mine.jsonl").exists()


def test_a_check_files_nothing(tmp_path: Path, checkout: Path) -> None:
    path = a_good_file(tmp_path / "mine.jsonl").path
    done = publish("--check", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert flat(done.stdout) == f"{path}: nothing is wrong with it"
    assert snapshot(checkout) == {}


def test_of_two_files_none_is_filed_where_one_is_wrong(tmp_path: Path, checkout: Path) -> None:
    good = a_good_file(tmp_path / "good.jsonl").path
    wrong = write(tmp_path / "wrong.jsonl", a_header(), *good_records()[:-3])
    done = publish(good, wrong)
    assert done.returncode == 2
    assert done.stderr == "Error: 1 of 2 files can't be published; see above\n"
    assert "wrong.jsonl: 1 thing to mend ! 1 of 9 cells" in flat(done.stdout)
    assert snapshot(checkout) == {}


def test_what_is_filed_already_is_told_with_its_place_and_is_no_fault(
    tmp_path: Path, checkout: Path
) -> None:
    path = a_good_file(tmp_path / "mine.jsonl").path
    assert publish(path, "--name", "mine").returncode == 0
    before = snapshot(checkout)
    place = checkout / "results" / "published" / KEY / "mine.jsonl"
    for words in ((path,), (path, "--name", "again"), (path, "--check"), (place,)):
        done = publish(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert (
            flat(done.stdout) == f"{words[0]}: filed already, as results/published/{KEY}/mine.jsonl"
        )
    assert snapshot(checkout) == before


def test_of_two_files_the_one_that_is_new_is_filed(tmp_path: Path, checkout: Path) -> None:
    path = a_good_file(tmp_path / "mine.jsonl").path
    assert publish(path, "--name", "mine").returncode == 0
    other = tmp_path / "quick.jsonl"
    plan = a_plan(*SWEEPS["quick"].cases(), variants=VARIANTS, passes=3)
    records = [
        msgspec.structs.replace(each, case=plan.cases[0]) if hasattr(each, "case") else each
        for each in good_records(ms=1.1)
    ]
    write(other, msgspec.structs.replace(a_header(), plan=plan), *records)
    done = publish(path, other)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "filed already" in flat(done.stdout)
    assert f"Published: results/published/{KEY}/quick.jsonl" in done.stdout


def test_a_filed_file_is_still_checked_in_its_place(tmp_path: Path, checkout: Path) -> None:
    path = a_good_file(tmp_path / "mine.jsonl").path
    publish(path, "--name", "mine")
    place = checkout / "results" / "published" / KEY / "mine.jsonl"
    place.with_suffix(".md").unlink()
    done = publish("--check", place)
    assert done.returncode == 2
    assert "mine.md is not what is made from the results" in flat(done.stdout)


def test_the_same_passes_in_other_bytes_are_refused_with_their_place(
    tmp_path: Path, checkout: Path
) -> None:
    path = a_good_file(tmp_path / "mine.jsonl").path
    assert publish(path, "--name", "mine").returncode == 0
    header = msgspec.structs.replace(a_header(), started="2027-01-01T00:00:00+00:00")
    done = publish(write(tmp_path / "other.jsonl", header, *good_records()), "--name", "again")
    assert done.returncode == 2
    assert f"it has passes 1, 2, 3 of {KEY}/mine.jsonl again" in flat(done.stdout)


def test_a_name_for_two_files_and_what_is_no_results_file_are_refused(
    tmp_path: Path, checkout: Path
) -> None:
    path = a_good_file(tmp_path / "mine.jsonl").path
    text = tmp_path / "notes.txt"
    text.write_text("hello\n")
    for words, complaint in (
        ((path, text, "--name", "x"), "--name x is for one file"),
        ((text,), "not a results file"),
        ((tmp_path / "none.jsonl",), "No such file"),
    ):
        done = publish(*words)
        assert done.returncode == 2
        assert done.stderr.startswith("Error: ")
        assert complaint in done.stderr


def test_a_file_and_its_copy_are_not_published_together(tmp_path: Path, checkout: Path) -> None:
    path = a_good_file(tmp_path / "mine.jsonl").path
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(path.read_bytes())
    done = publish(path, copy)
    assert done.returncode == 2
    assert "mine.jsonl again" in flat(done.stdout)
    assert snapshot(checkout) == {}


def test_two_files_of_one_name_are_refused_before_either_is_filed(
    tmp_path: Path, root: Path
) -> None:
    files = [a_good_file(tmp_path / f"{ms}.jsonl", ms=ms) for ms in (1.0, 1.1)]
    with pytest.raises(BadRequest, match=r"would both be same\.jsonl"):
        filings(files, "same", root)


def test_a_run_that_a_budget_cut_short_is_indexed_by_what_it_measured(
    tmp_path: Path, root: Path
) -> None:
    plan = msgspec.structs.replace(a_header().plan, cases=(CASE, a_case(1024)))
    header = msgspec.structs.replace(a_header(), plan=plan)
    file_results(read(write(tmp_path / "part.jsonl", header, *good_records())), root)
    index = (root / "results" / "published" / KEY / "README.md").read_text()
    assert "forward, 512 keys, float32" in index
    assert "1024 keys" not in index


def test_the_picture_of_an_old_gpu_is_of_its_first_shape_in_float16(
    tmp_path: Path, root: Path
) -> None:
    case = SWEEPS["gpu"].in_half("float16").cases()[0]
    plan = a_plan(case, variants=VARIANTS, passes=3)
    records = [
        msgspec.structs.replace(each, case=case) if hasattr(each, "case") else each
        for each in good_records()
    ]
    header = msgspec.structs.replace(a_header(), plan=plan, hardware=a_gpu("cuda-invented", "7.5"))
    file_results(read(write(tmp_path / "gpu.jsonl", header, *records)), root)
    folder = root / "results" / "published" / "cuda-invented"
    assert "float16, 1 x 32 heads of 128" in (folder / "README.md").read_text()
    picture = (folder / "ratio.svg").read_text()
    assert "32 heads of 128: Invented GPU" in picture
    assert "float16" in picture
