"""Files of `lengths` on a page: values with spread, views, costs of each setup, and refusals."""

import msgspec
import pytest

from reports.web_page.page_data import page_data
from reports.web_page.quality.page_quality import FileQuality, PageQuality
from suite.failures import BadRequest
from suite.quality.design import QUICK
from suite.quality.record import ModelFault
from suite.quality.results import LengthsResults
from suite.records.store import Results
from tests.quality_files import results, rising_bits
from tests.reports.tunings import tuning

RACE = tuning(
    {
        "native_window": {128: 0.8, 512: 0.5},
        "rope": {128: 1.3, 512: 1.2},
        "t5_bias": {128: 1.6, 512: 2.1},
    }
)
LENGTHS = results(bits_of=rising_bits)


def quality_of(of_lengths: list[LengthsResults], *races: Results) -> PageQuality:
    """Return what a page of files shows of quality."""
    quality = page_data(races, of_lengths).quality
    assert quality is not None
    return quality


def file_quality(of_lengths: LengthsResults, *races: Results) -> FileQuality:
    """Return what it shows of one file."""
    (file,) = quality_of([of_lengths], *races).files
    return file


def test_a_page_of_races_alone_has_no_part_on_quality() -> None:
    assert page_data([RACE]).quality is None


def test_a_page_of_lengths_alone_has_the_part_and_no_cell() -> None:
    data = page_data([], [LENGTHS])
    assert (data.cells, data.first, data.history) == ([], None, None)
    assert data.heading == "What ALiBi buys: trained short, tested long"
    assert data.quality is not None


def test_a_point_is_the_mean_of_the_seeds_between_the_least_and_the_most() -> None:
    (point,) = [
        each
        for each in file_quality(LENGTHS).points
        if (each.series, each.measure, each.length) == ("RoPE", "on_same_targets", 512)
    ]
    assert (point.low, point.bits, point.high) == pytest.approx((1.8, 1.83, 1.86))
    assert point.seeds == 3


def test_both_measures_have_a_point_for_every_test_at_every_length() -> None:
    file = file_quality(LENGTHS)
    places = {(each.series, each.measure, each.length) for each in file.points}
    assert len(places) == len(file.points) == 2 * 4 * len(file.tables[0].rows)


def test_races_give_the_costs_of_their_setup_beside_the_bits() -> None:
    (costs,) = file_quality(LENGTHS, RACE).costs
    assert costs.headline == (
        "At 512 tokens a prefill's attention takes, over bias-free SDPA's: "
        "ALiBi's 0.50x (0.50 to 0.50), RoPE's 1.20x (1.20 to 1.20)"
    )
    points = {(each.series, each.multiple): each for each in costs.points}
    at_four = {series for series, multiple in points if multiple == 4}
    assert at_four == {"ALiBi", "RoPE", "RoPE, YaRN", "sinusoidal", "T5's bias", "none"}
    rope = points["RoPE", 4]
    assert (rope.variant, rope.length) == ("rope", 512)
    assert rope.ratio_low <= rope.ratio <= rope.ratio_high
    assert (rope.low, rope.bits, rope.high) == pytest.approx((1.8, 1.83, 1.86))
    assert {multiple for _, multiple in points} == {1, 4}
    assert costs.table.headers == ["positions", "mode", "128", "512"]


def test_each_device_has_costs_of_its_own() -> None:
    hardware = msgspec.structs.replace(RACE.header.hardware, key="cpu-other-2cores", name="Other")
    other = RACE._replace(header=msgspec.structs.replace(RACE.header, hardware=hardware))
    assert len({costs.setup for costs in file_quality(LENGTHS, RACE, other).costs}) == 2


def test_races_of_the_baseline_alone_or_of_other_lengths_give_no_costs() -> None:
    assert file_quality(LENGTHS, tuning({"no_bias": {128: 1.0}})).costs == []
    assert file_quality(LENGTHS, tuning({"native_window": {640: 1.0}})).costs == []


def test_files_of_one_text_have_their_own_names() -> None:
    files = quality_of([results(name="first.jsonl"), results(name="second.jsonl")]).files
    text = "sympy 1.14.0, networkx 3.6.1, mpmath 1.3.0"
    assert [file.name for file in files] == [f"{text}, first.jsonl", f"{text}, second.jsonl"]


def test_a_model_that_failed_is_named() -> None:
    failed = LENGTHS._replace(faults=[ModelFault("t5", 1, "killed by SIGKILL")])
    assert "Failed: t5, seed 1: killed by SIGKILL" in file_quality(failed).notes


def test_a_file_in_which_nothing_was_tested_is_refused_with_what_goes_on() -> None:
    empty = results(QUICK)._replace(qualities=[])
    with pytest.raises(BadRequest, match=r"no model was tested yet; lengths --resume lengths"):
        page_data([], [empty])
