"""Paths and host names are seen in any string of a file, and the remedy takes them out."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from reports.publishing.checks import findings
from reports.publishing.privacy import private_words
from suite.records.store import read
from tests.records import a_fault, write
from tests.reports.publishing.good_file import CASE, a_good_file, a_header, good_records


def examples(path: Path, text: str, host: str = "localhost") -> list[str]:
    """Return what is seen in a line of JSON that holds a text."""
    path.write_bytes(msgspec.json.encode({"reason": text}) + b"\n")
    return [word for words in private_words(path, host) for word in words.examples]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("/home/ada/results/x.jsonl", "/home/ada/results/x.jsonl"),
        ("--out=/tmp/x.jsonl", "/tmp/x.jsonl"),
        ('Traceback:\n  File "/opt/site-packages/torch/x.py"', "/opt/site-packages/torch/x.py"),
        ("failed in\n/home/ada/x.py", "/home/ada/x.py"),
        ("in ~/bench/x.jsonl", "~/bench/x.jsonl"),
        ("no route to gpu7.cluster.internal", "gpu7.cluster.internal"),
        ("ip-10-0-3-17 is gone", "ip-10-0-3-17"),
        ("write to ada@example.org", "ada@example.org"),
        ("lane on thunderbird ended", "thunderbird"),
    ],
)
def test_a_path_or_a_host_is_seen(text: str, seen: str, tmp_path: Path) -> None:
    assert examples(tmp_path / "x.jsonl", text, "thunderbird.example") == [seen]


@pytest.mark.parametrize(
    "text",
    [
        "1/sqrt(d)",
        "results/gpu.jsonl",
        "forward and/or backward",
        "see https://example.org/a/b/c",
        "thunderbirds are 5/8/9",
        "torch 2.13.0+cpu",
        "at::native::(anonymous namespace)::kernel<float, 4>",
        "6.8.0-45-generic",
    ],
)
def test_what_names_no_place_is_not(text: str, tmp_path: Path) -> None:
    assert examples(tmp_path / "x.jsonl", text, "thunderbird") == []


def test_the_remedy_takes_them_out_and_the_file_is_still_read(tmp_path: Path) -> None:
    reason = "/home/ada/a.b/c/kernel.py and /home/ada/x.py failed on box.local; try another"
    records = [*good_records()[:-3], a_fault(CASE, "sdpa_key", 3, status="crashed", reason=reason)]
    header = msgspec.structs.replace(a_header(), argv=("run", "--out", "/home/ada/it.jsonl"))
    path = write(tmp_path / "it.jsonl", header, *records)
    for finding in findings(read(path)):
        assert finding.mend.startswith("sed -i ")
        subprocess.run(finding.mend, shell=True, check=True)
    mended = read(path)
    assert findings(mended) == []
    assert mended.header.argv == ("run", "--out", "it.jsonl")


def test_a_good_file_names_neither(tmp_path: Path) -> None:
    assert list(private_words(a_good_file(tmp_path / "good.jsonl").path)) == []
