"""What the docs say of published results is what the files give, and the files are whole."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks.verdicts.compare_canaries import (
    as_measured,
    at_both_ends,
    by_division,
    false_alarms,
    of_two_files,
    on_another_machine,
    published_runs,
    verdicts_on_slowdowns,
)
from benchmarks.verdicts.history_steps import tables
from reports.choosing.regret import flips, price_left_out, price_unseen
from reports.choosing.regret_table import summary
from reports.generated.write import PUBLISHED, pages
from reports.publishing.checks import RULES
from reports.publishing.filing import published_files
from reports.publishing.neighbours import is_new
from reports.tables.cells import groups
from reports.verdicts import calibration_table
from reports.verdicts.calibration import calibrate, pairs_of
from suite.conditions.policy import ROOT
from suite.records.store import read
from variants.catalog import BASELINE

FILES = sorted(PUBLISHED.glob("*/*.jsonl"))
DEVICES = sorted(path for path in PUBLISHED.iterdir() if path.is_dir())
XEON = PUBLISHED / "cpu-intel-6.167.1-avx2-avx512f-bf16-fp16-amx-bf16-2cores"
OTHER_XEON = PUBLISHED / "cpu-intel-6.207.2-avx2-avx512f-bf16-fp16-2cores"


def name_of(path: Path) -> str:
    return path.name


def table_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of cells in a text's tables, by their columns' names."""
    names: list[str] = []
    rows = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.strip("|").split("|")]
        if fields[0] == "length":
            names = fields
        elif re.match(r"\| +\d+ \|", line) and len(fields) == len(names):
            rows.append(dict(zip(names, fields, strict=True)))
    return rows


def test_each_row_of_the_readmes_table_is_in_the_published_table_that_it_links_to() -> None:
    readme = (ROOT / "README.md").read_text()
    (link,) = re.findall(r"\[one table\]\((\S+)\)", readme)
    rows, published = table_rows(readme), table_rows((ROOT / link).read_text())
    assert len(rows) == 6
    for row in rows:
        assert any(row.items() <= other.items() for other in published), row


def test_the_readmes_picture_is_a_published_one() -> None:
    readme = (ROOT / "README.md").read_text()
    (picture,) = re.findall(r"!\[[^\]]+\]\((\S+)\)", readme)
    assert (ROOT / picture) in {device / "ratio.svg" for device in DEVICES}


ONE_PASS = "one pass: three would take hours, and its table says that it has no interval"
TWO_SETS = "measured before timed calls went through two sets of inputs"
MOVED = "the machine was not quiet, and its table says so"
DISAGREEMENT = "the disagreement is what it shows, and the row is not ranked"
EXCEPTIONS = {
    "has_enough_passes": {
        ONE_PASS: "25.1/backward-long 25.17/backward-half 25.17/backward-long "
        "25.17/chunk-of-512 25.17/decode-long 25.17/decode-norms-long 25.17/decode-paged "
        "25.17/decode-wide 25.17/peers-decode 25.17/peers-decode-long 25.17/wide "
        "26.2/backward-half 26.2/backward-long 26.2/chunk "
        "26.2/embedding 26.2/large-scores 26.2/long 26.2/peers-decode-long 26.2/peers-long "
        "26.2/wide 6.167/large-scores 6.167/large-scores-kernel 6.167/long-32768 6.167/long-65536 "
        "6.167/wide-32-of-128 6.167/wide-32-of-128-blocks 6.167/wide-32-of-128-kernel "
        "6.167/wide-32-of-64 6.167/wide-32-of-64-blocks 6.167/wide-32-of-64-kernel "
        "6.167/wide-8-of-128 6.167/wide-8-of-128-blocks 6.167/wide-8-of-128-kernel "
        "6.167/wide-backward-8-of-128",
    },
    "has_published_policy": {
        TWO_SETS: " ".join(
            f"{device}/{path.stem}"
            for device, folder in (("6.167", XEON), ("6.207", OTHER_XEON))
            for path in sorted(folder.glob("*.jsonl"))
        )
    },
    "has_quiet_canary": {MOVED: "25.1/forward 25.1/backward 25.17/recorded"},
    "agrees": {DISAGREEMENT: "6.167/bidirectional 6.167/unseen-backward-whole"},
}
"""Files that break a rule of `publish`, which came later: by rule and reason, then their names."""


def short_name(path: Path) -> str:
    """Return a file's name behind the family and model of its CPU, 6.167/forward, or its GPU."""
    device = re.sub(r"^cpu-.*-(\d+\.\d+)\.\d+-.*", r"\1", path.parent.name)
    return f"{device}/{path.stem}"


@pytest.mark.parametrize("file", FILES, ids=short_name)
def test_publish_takes_a_published_file_but_for_its_exceptions(file: Path) -> None:
    results = read(file)
    broken = {rule.__name__ for rule in RULES if list(rule(results))}
    excepted = {
        rule
        for rule, reasons in EXCEPTIONS.items()
        if any(short_name(file) in names.split() for names in reasons.values())
    }
    assert broken == excepted
    assert file.parent.name == results.header.hardware.key


def test_no_pass_is_published_twice() -> None:
    for device in DEVICES:
        files = published_files(device)
        for number, results in enumerate(files):
            assert not list(is_new(results, files[:number])), results.path


@pytest.mark.parametrize("device", DEVICES, ids=name_of)
def test_a_devices_index_picture_and_tables_are_what_make_docs_writes(device: Path) -> None:
    generated = pages(device)
    for path, text in generated.items():
        assert path.read_text() == text, f"{path.name}: run make docs"
    files = {path for path in device.iterdir() if path.suffix in {".md", ".svg"}}
    assert files == set(generated), "a file whose results are gone"


@pytest.mark.heavy
def test_the_rates_of_verdicts_are_those_of_the_published_pairs() -> None:
    files = [read(file) for file in sorted(PUBLISHED.glob("*/aa/*.jsonl"))]
    assert len(files) == 20
    rates = calibration_table.render(calibrate(pairs_of(files), gate=0.01), "simple")
    indented = "\n".join(f"    {line}".rstrip() for line in rates.splitlines())
    assert indented in (ROOT / "docs" / "verdicts.md").read_text()


@pytest.mark.heavy
def test_the_steps_of_verdicts_are_those_of_the_published_pairs() -> None:
    page = (ROOT / "docs" / "verdicts.md").read_text()
    words = " ".join(page.split())
    for table in tables():
        indented = "\n".join(f"    {line}".rstrip() for line in table.splitlines())
        assert indented in page or " ".join(table.split()) in words, table


@pytest.mark.heavy
def test_of_the_same_code_compare_calls_the_least_slower_and_hides_nothing() -> None:
    """docs/verdicts.md has the counts over all files that git has had."""
    pairs = list(of_two_files(published_runs([read(file) for file in FILES])))
    assert len(pairs) >= 48
    alarms = [false_alarms(rule, pairs) for rule in (by_division, at_both_ends, as_measured)]
    assert alarms == sorted(alarms)
    slower = [on_another_machine(same, 0.10) for same in pairs]
    assert false_alarms(by_division, slower) * 10 <= false_alarms(as_measured, slower)
    on_a_faster_machine = verdicts_on_slowdowns(by_division, pairs, 0.10, -0.10)
    assert not {"same", "faster"} & set(on_a_faster_machine)


@pytest.mark.heavy
def test_the_price_of_advice_is_that_of_the_published_races() -> None:
    tuned = [
        read(file)
        for kind in ("forward", "backward")
        for file in sorted(XEON.glob(f"{kind}*.jsonl"))
    ]
    fresh = [read(file) for file in sorted(XEON.glob("unseen-*.jsonl"))]
    page = (ROOT / "docs" / "choosing.md").read_text()
    for name, priced in (
        ("never measured", price_unseen(tuned, fresh)),
        ("left out", price_left_out(tuned)),
    ):
        figures = summary(priced)
        assert figures is not None
        row = (
            f"{name} | {figures.problems} | {figures.first} | {figures.mean:.2%} | "
            f"{figures.at_95:.1%} | {figures.held} |"
        )
        assert row in page
    assert "for {} of {} problems".format(*flips(tuned)) in page


@pytest.mark.heavy
def test_as_many_published_rows_are_too_noisy_as_the_page_says() -> None:
    rows = [row for file in FILES for group in groups([read(file)]) for row in group.rows]
    paired = [row for row in rows if row.vs_no_bias is not None and row.variant != BASELINE.name]
    noisy = sum(row.contradictory for row in paired)
    page = (ROOT / "docs" / "method.md").read_text()
    verb = "is" if noisy == 1 else "are"
    assert f"{noisy} of {len(paired)} published rows {verb}." in page


def test_the_readmes_demo_is_what_its_command_prints(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    demo = re.search(
        r"^    python (run_bench\.py best .*)\n\n((?:    .*\n)+)", readme, re.MULTILINE
    )
    assert demo is not None
    done = subprocess.run(
        [sys.executable, *demo[1].split()],
        cwd=ROOT,
        env={"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert textwrap.indent(done.stdout, "    ") == demo[2]
