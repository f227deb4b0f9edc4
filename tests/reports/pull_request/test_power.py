"""What a comparison could have found, told from its own pairs."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest

from reports.pull_request.power import detection_rate, deviations, power
from suite.records.record import Pair, Versus
from suite.records.store import Results, read
from tests.records import a_case, a_machine, a_pair, a_versus, results

PUBLISHED = Path(__file__).parents[3] / "results" / "published"
CELLS = [(a_case(length), variant) for length in (128, 256) for variant in ("eager", "flex")]


def duel(spread: float, pairs: int = 8, slowed: float = 0.0, seed: int = 0) -> Results:
    """Return pairs of four cells, each with a spread; the first cell is slower by a share."""
    random = Random(seed)
    records = [
        a_pair(case, variant, number, ratio=(1 + slowed * (place == 0)) * random.gauss(1, spread))
        for number in range(1, pairs + 1)
        for place, (case, variant) in enumerate(CELLS)
    ]
    return results(a_machine(), a_versus((pairs, 2 * pairs)), *records)


def effects(files: Sequence[Results]) -> list[float]:
    """Return the slowdown that each comparison would find."""
    return [found.effect for file in files if (found := power(file)) is not None]


def test_quiet_pairs_would_find_a_smaller_slowdown_than_noisy_ones() -> None:
    quiet, noisy = effects([duel(0.003), duel(0.02)])
    assert quiet == 0.02
    assert 0.03 <= noisy < 0.10


def test_more_pairs_would_find_a_smaller_slowdown() -> None:
    few, many = effects([duel(0.02, 4), duel(0.02, 16)])
    assert many < few


def test_pairs_too_noisy_for_any_slowdown_name_the_largest_with_its_rate() -> None:
    found = power(duel(0.2))
    assert found is not None
    assert found.effect == 0.10
    assert found.rate.share < 0.5


def test_a_slowdown_that_is_there_changes_nothing() -> None:
    assert power(duel(0.01, slowed=0.2)) == power(duel(0.01))


def test_a_cell_that_lost_pairs_to_a_failure_does_not_count() -> None:
    whole = duel(0.003)
    wild = [a_pair(a_case(1024), "eager", number, ratio=9.0**number) for number in (1, 2, 3)]
    assert power(whole._replace(records=[*whole.records, *wild])) == power(whole)


def test_one_pair_says_nothing() -> None:
    assert power(duel(0.01, pairs=1)) is None
    assert power(results(a_machine(), a_versus())) is None


@pytest.mark.heavy
def test_fourteen_published_pairs_tell_what_two_hundred_do() -> None:
    """docs/verdicts.md has +3% found in 86%, drawn from all 200 pairs."""
    files = [read(path) for path in sorted(PUBLISHED.glob("*/aa/*.jsonl"))]
    versus = next(record for record in files[0].records if isinstance(record, Versus))
    pairs: list[list[Pair]] = []
    for file in files:
        by_number: dict[int, list[Pair]] = {}
        for record in file.records:
            if isinstance(record, Pair) and record.stage == "first":
                by_number.setdefault(record.pair_number, []).append(record)
        pairs += by_number.values()
    rates = []
    for first in range(0, 196, 14):
        records = [
            msgspec.structs.replace(record, pair_number=number)
            for number, whole in enumerate(pairs[first : first + 14], start=1)
            for record in whole
        ]
        part = files[0]._replace(records=[files[0].header, versus, *records])
        rates.append(detection_rate(deviations(part), versus.gate, 0.03, Random(0)).share)
    assert statistics.fmean(rates) == pytest.approx(0.86, abs=0.03)
    assert min(rates) >= 0.70
    assert max(rates) <= 0.98
