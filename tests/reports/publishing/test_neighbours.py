"""A file is held against what its device has published, and against its own place there."""

from pathlib import Path

import msgspec
import pytest

from reports.publishing.filing import filings
from reports.publishing.neighbours import neighbour_findings
from suite.records.store import read
from tests.records import a_fault, write
from tests.reports.publishing.good_file import CASE, a_good_file, a_header, good_records

KEY = "cpu-invented-2cores"


def publish_one(tmp_path: Path) -> Path:
    """File a good file in the checkout `tmp_path`, and return its place."""
    (filing,) = filings([a_good_file(tmp_path / "mine.jsonl")], "first", tmp_path)
    filing.write()
    (path,) = filing.sources
    return path


def test_what_was_filed_has_no_finding_in_its_place(tmp_path: Path) -> None:
    place = publish_one(tmp_path)
    assert neighbour_findings(read(place), tmp_path) == []


def test_a_file_that_is_published_is_told_by_its_samples(tmp_path: Path) -> None:
    publish_one(tmp_path)
    header = msgspec.structs.replace(a_header(), started="2027-01-01T00:00:00+00:00")
    copy = read(write(tmp_path / "copy.jsonl", header, *good_records()))
    (finding,) = neighbour_findings(copy, tmp_path)
    assert finding.what == f"it has passes 1, 2, 3 of {KEY}/first.jsonl again"


def test_other_software_than_that_of_the_device_is_refused(tmp_path: Path) -> None:
    publish_one(tmp_path)
    header = msgspec.structs.replace(a_header(), software={"torch": "2.14.0", "triton": "absent"})
    other = read(write(tmp_path / "other.jsonl", header, *good_records(ms=1.1)))
    (finding,) = neighbour_findings(other, tmp_path)
    assert "torch 2.14.0 and not 2.13.0" in finding.what


def test_a_file_from_which_nothing_can_be_chosen_is_told_of_it(tmp_path: Path) -> None:
    records = [each for each in good_records() if getattr(each, "variant", "no_bias") == "no_bias"]
    faults = [
        a_fault(CASE, variant, number) for variant in ("eager", "sdpa_key") for number in (1, 2, 3)
    ]
    results = read(write(tmp_path / "it.jsonl", a_header(), *records, *faults))
    (finding,) = neighbour_findings(results, tmp_path)
    assert finding.what.startswith("no variant can be chosen from it: choose: nothing to choose")


@pytest.mark.parametrize("stale", [f"results/published/{KEY}/first.md", f"selections/{KEY}.json"])
def test_a_page_or_a_selection_that_was_not_renewed_is_named(stale: str, tmp_path: Path) -> None:
    place = publish_one(tmp_path)
    (tmp_path / stale).unlink()
    (finding,) = neighbour_findings(read(place), tmp_path)
    assert finding.what.startswith(f"{stale} is not what is ")
    assert finding.mend == "make selections docs"


def test_a_file_in_another_devices_folder_is_named(tmp_path: Path) -> None:
    place = tmp_path / "results" / "published" / "cpu-other" / "mine.jsonl"
    (finding,) = neighbour_findings(a_good_file(place), tmp_path)
    assert finding.what == f"it is not in results/published/{KEY}"
