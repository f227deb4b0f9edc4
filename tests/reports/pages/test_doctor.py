"""The doctor's report says in words what a machine has, what runs on it and what spoils it."""

import re
from dataclasses import replace

import msgspec
import pytest

from reports.pages import doctor
from reports.text.screen import Screen
from suite.conditions.health import Trouble
from suite.conditions.nvml import Absent, GpuState
from suite.probe.probe import ProbeResult
from tests.fakes.nvml import WELL
from tests.records import a_machine
from tests.variants.selections import a_gpu

WIDE = Screen(400)
GPU = replace(WELL, power_w=251.7, power_limit_w=600.0, sm_clock_mhz=1200)
UNREAD = Absent("NVML: Not Supported")


def lines_of(gpu: GpuState | Absent = UNREAD) -> dict[str, str]:
    """Return what is said of an invented machine, by what it is said of."""
    record = a_machine()
    text = doctor.machine_lines(record.hardware, record.software, record.circumstances, gpu, WIDE)
    names = (
        "device", "hardware key", "features", "software", "python", "container", "GPU",
    )  # fmt: skip
    return {
        name: line.removeprefix(name).strip()
        for name, line in zip(names, text.splitlines(), strict=True)
    }


def test_a_machine_is_told_with_everything_that_matters() -> None:
    said = lines_of()
    assert said["device"] == "Invented CPU, 2 cores"
    assert said["hardware key"] == "cpu-invented-2cores"
    assert said["features"] == "avx2"
    assert said["software"] == "torch 2.13.0, triton absent"
    assert said["python"] == "3.11.7 on Linux 6.1"
    assert said["container"] == "no"


def test_a_machine_without_features_says_so() -> None:
    record = a_machine()
    plain = msgspec.structs.replace(record.hardware, features=())
    text = doctor.machine_lines(plain, record.software, record.circumstances, UNREAD)
    assert "none of those that matter" in text


def test_a_gpu_is_told_by_its_name_key_capability_and_cache() -> None:
    record = a_machine()
    gpu = a_gpu(
        "cuda-invented-132sm-80gib", name="Invented GPU, 132 SMs, 80 GiB", l2_bytes=50 << 20
    )
    text = doctor.machine_lines(gpu, record.software, record.circumstances, GPU)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "device Invented GPU, 132 SMs, 80 GiB"
    assert lines[1] == "hardware key cuda-invented-132sm-80gib"
    assert lines[2] == "features compute capability 9.0, L2 cache 50 MiB"


def test_without_a_gpu_the_reason_is_shown() -> None:
    said = lines_of(Absent("NVML: NVML Shared Library Not Found"))
    assert said["GPU"] == "NVML: NVML Shared Library Not Found"


def test_a_gpu_is_told_in_words_and_units() -> None:
    assert lines_of(GPU)["GPU"] == (
        "Invented GPU, driver 580.12, MIG off, ECC on, power 252 W of 600 W (default 700 W), "
        "SM clock 1200 MHz of 1980 MHz, other processes 0, clocks held down by nothing"
    )


def test_what_troubles_a_gpu_is_told_beside_its_figures() -> None:
    troubled = replace(GPU, mig=True, processes=2, slowed_by=("power cap", "hardware slowdown"))
    said = lines_of(troubled)["GPU"]
    assert "MIG on" in said
    assert "other processes 2" in said
    assert said.endswith("clocks held down by power cap and hardware slowdown")


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ("driver", "driver unknown"),
        ("mig", "MIG unknown"),
        ("power_w", "power unknown of 600 W"),
        ("power_limit_default_w", "(default unknown)"),
        ("sm_clock_mhz", "SM clock unknown of 1980 MHz"),
        ("processes", "other processes unknown"),
        ("slowed_by", "clocks held down by unknown"),
    ],
)
def test_a_figure_that_a_gpu_keeps_to_itself_is_unknown_and_the_rest_is_told(
    figure: str, words: str
) -> None:
    said = lines_of(replace(GPU, **{figure: UNREAD}))["GPU"]
    assert words in said
    assert said.startswith("Invented GPU, ")
    assert said.count("unknown") == 1


def test_every_variant_is_shown_with_what_became_of_it() -> None:
    text = doctor.variants(
        [
            ProbeResult("eager", "forward", "measured", "out, batch 0 head 3"),
            ProbeResult("flex", "backward", "unsupported", "no backward here; use eager"),
            ProbeResult("compile", "forward", "disagrees", "out, batch 0 head 1"),
        ]
    )
    rows = [line.split() for line in text.splitlines()]
    assert rows[0] == ["variant", "forward", "backward"]
    assert ["eager", "runs"] in rows
    assert ["compile", "disagrees"] in rows
    assert re.search(r"^flex {7,}unsupported$", text, re.MULTILINE)


def test_a_variant_that_does_not_run_keeps_its_reason_and_one_that_runs_needs_none() -> None:
    text = doctor.variants(
        [
            ProbeResult("eager", "forward", "measured", "out, batch 0 head 3"),
            ProbeResult("flex", "backward", "unsupported", "no backward here; use eager"),
        ]
    )
    table, reasons = text.split("\n\n")
    assert reasons == "flex backward unsupported: no backward here; use eager"
    assert "out, batch 0 head 3" not in table


def test_what_was_not_tried_shares_a_line_with_its_reason_and_is_no_row() -> None:
    text = doctor.variants(
        [
            ProbeResult("eager", "forward", "measured", "out"),
            ProbeResult("flex", "forward", "skipped", "waits for a compiler"),
            ProbeResult("auto", "forward", "skipped", "waits for a compiler"),
            ProbeResult("eager", "backward", "skipped", "not tried within 12 s"),
            ProbeResult("flex", "backward", "skipped", "waits for a compiler"),
        ]
    )
    table, reasons = text.split("\n\n")
    assert table.splitlines()[-1].split() == ["eager", "runs"]
    assert reasons.splitlines() == [
        "flex, auto forward skipped: waits for a compiler",
        "eager backward skipped: not tried within 12 s",
    ]


def test_where_nothing_was_tried_there_is_no_table() -> None:
    text = doctor.variants([ProbeResult("eager", "forward", "skipped", "not tried")])
    assert text == "eager forward skipped: not tried"


def test_where_everything_runs_the_table_is_all() -> None:
    text = doctor.variants([ProbeResult("eager", "forward", "measured", "out")])
    assert text.splitlines()[-1].split() == ["eager", "runs"]


def test_what_is_longer_than_a_line_goes_on_below_its_name() -> None:
    record = a_machine()
    text = doctor.machine_lines(record.hardware, record.software, record.circumstances, GPU)
    gpu = text[text.index("GPU  ") :].splitlines()
    assert len(gpu) > 1
    assert all(line.startswith(" " * 14) and len(line) <= 80 for line in gpu[1:])


def test_without_troubles_one_sentence_says_so() -> None:
    assert doctor.troubles([]) == "Nothing here spoils measurements."


def test_each_trouble_comes_with_its_help() -> None:
    found = [Trouble("the machine is busy", "stop what runs"), Trouble("MIG is on", "live with it")]
    assert doctor.troubles(found).splitlines() == [
        "! the machine is busy",
        "  -> stop what runs",
        "! MIG is on",
        "  -> live with it",
    ]
