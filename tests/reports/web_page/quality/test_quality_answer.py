"""The answer: what ALiBi and RoPE lose at the longest tested length, and how sure that is."""

import msgspec

from reports.quality.rows import rows_of
from reports.web_page.quality.quality_answer import QualityAnswer, cost_answer, quality_answer
from suite.quality.design import DEFAULT, QUICK, Design, LengthTest
from suite.quality.results import LengthsResults
from tests.quality_files import WINDOWS, BitsOf, results, rising_bits


def answer(results: LengthsResults) -> QualityAnswer:
    return quality_answer(rows_of(results), results.header.design)


def answer_of(design: Design = DEFAULT, bits_of: BitsOf = rising_bits) -> QualityAnswer:
    return answer(results(design, bits_of))


def test_it_says_what_alibi_and_rope_need_more_at_the_longest_length() -> None:
    assert answer_of().headline == (
        "At 2048 tokens, 16 times the trained length, ALiBi needs 0.004 bits per byte more than "
        "at 128, and RoPE 0.440 more"
    )


def test_the_spread_over_seeds_and_the_best_method_stand_under_it() -> None:
    assert answer_of().details == (
        "Bits of the same last 128 tokens, with as many before them as fit. "
        "Over 3 seeds: ALiBi +0.004 to +0.004, RoPE +0.400 to +0.480. "
        "The fewest at 2048 has ALiBi: 1.614."
    )


def test_a_model_of_more_heads_is_not_the_best_method() -> None:
    whole = results(bits_of=rising_bits)
    fewer = [
        msgspec.structs.replace(each, on_same_targets=(0.5,) * WINDOWS)
        if each.method == "alibi_12_heads"
        else each
        for each in whole.qualities
    ]
    details = answer(whole._replace(qualities=fewer)).details
    assert "The fewest at 2048 has ALiBi: 1.614." in details


def test_one_seed_has_no_spread_and_that_is_told() -> None:
    assert "One seed, so there is no spread." in answer_of(QUICK).details


def falling_bits(method: str, test: LengthTest, length: int, seed: int) -> float:
    return 2.0 - length / 10_000


def test_fewer_bits_are_told_as_less() -> None:
    sinks = answer_of(bits_of=falling_bits)
    assert "ALiBi needs 0.192 bits per byte less than at 128" in sinks.headline


def test_a_file_of_the_trained_length_alone_says_so() -> None:
    whole = results(QUICK)
    short = whole._replace(qualities=[each for each in whole.qualities if each.length == 128])
    assert answer(short).headline == "No model was tested beyond its trained length yet"


def test_without_alibi_the_answer_is_of_the_methods_that_were_tested() -> None:
    whole = results(bits_of=rising_bits)
    others = [each for each in whole.qualities if each.method in {"t5", "nope"}]
    assert ", T5's bias needs 0.440 bits" in answer(whole._replace(qualities=others)).headline


def test_costs_without_a_prefill_are_told() -> None:
    assert cost_answer([]) == "No prefill of ALiBi or RoPE was raced"
