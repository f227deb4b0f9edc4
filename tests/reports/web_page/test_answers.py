"""The answer on top of a page: which variant, by how much, and how sure."""

from reports.web_page.answers import ViewAnswer
from reports.web_page.page_data import page_data
from suite.records.record import Record
from suite.records.store import Results
from tests.records import a_case, a_cell, a_check, a_machine, a_plan, a_run, results
from tests.reports.web_page.page_results import a_device


def answer_of(*files: Results) -> ViewAnswer:
    """Return the answer that a page opens with."""
    data = page_data(files)
    return next(answer for answer in data.answers if answer.view == data.first)


def test_it_names_the_fastest_its_ratio_and_the_next() -> None:
    answer = answer_of(a_device())
    assert answer.headline == "native_window is fastest at all 3 lengths: 512 to 2048 keys"
    assert answer.by_how_much == (
        "It takes 0.50x the time of attention without a bias (no_bias). "
        "At 2048 keys it takes 8.00 ms (8.00 to 8.00); the next, flex, takes 1.50x as long."
    )
    assert answer.how_sure.startswith("Sure: ")


def test_a_tie_is_told() -> None:
    times = {"no_bias": [9.0, 9.0, 9.0], "eager": [2.0, 2.02, 1.99], "flex": [2.01, 2.0, 2.02]}
    assert answer_of(a_run(times)).how_sure == (
        "Take care: another variant is tied with the fastest at 512."
    )


def test_noise_that_hides_the_fastest_is_told() -> None:
    times = {"no_bias": [9.0, 9.0, 9.0], "eager": [2.0, 2.2, 1.9], "flex": [2.1, 2.0, 2.1]}
    assert answer_of(a_run(times)).how_sure == (
        "Take care: the noise is too large to tell the fastest at 512."
    )


def test_one_pass_has_no_interval_and_a_variant_alone_has_nothing_beside_it() -> None:
    assert answer_of(a_run({"no_bias": [9.0], "eager": [2.0]})).how_sure == (
        "Take care: one or two passes give no interval at 512; no other variant was ranked at 512."
    )
    assert "next" not in answer_of(a_run({"no_bias": [9.0], "eager": [2.0]})).by_how_much


def test_a_second_without_an_interval_is_not_sure_either() -> None:
    times = {"no_bias": [9.0] * 3, "eager": [2.0] * 3, "flex": [4.0]}
    assert "no interval at 512" in answer_of(a_run(times)).how_sure


def test_where_another_is_fastest_it_is_named_with_its_length() -> None:
    lengths = (256, 512, 1024)
    records: list[Record] = []
    for length in lengths:
        case = a_case(length)
        for number in (1, 2, 3):
            records += a_cell(case, "no_bias", 9.0, number)
            records += a_cell(case, "eager", 1.0 if length == 256 else 5.0, number)
            records += a_cell(case, "flex", 3.0, number)
    cases = [a_case(length) for length in lengths]
    plan = a_plan(*cases, variants=["no_bias", "eager", "flex"], passes=3)
    answer = answer_of(results(a_machine(plan), *records))
    assert answer.headline == "flex is fastest at 2 of 3 lengths: 512 and 1024 keys"
    assert "Elsewhere: eager at 256." in answer.by_how_much


def test_where_none_agrees_the_answer_recommends_none_and_says_why() -> None:
    case = a_case()
    plan = a_plan(case, variants=["eager", "flex"])
    checks = [a_check(case, name, error=1.0) for name in plan.variants]
    answer = answer_of(results(a_machine(plan), *checks))
    assert answer.headline == "No variant can be recommended"
    assert answer.by_how_much == "Its cells ended as disagrees (2)."


def test_without_a_baseline_the_answer_says_that_there_is_no_ratio() -> None:
    assert answer_of(a_run({"eager": [2.0], "flex": [3.0]})).by_how_much.startswith(
        "no_bias has no time here, so there is no ratio to it. At 512 keys it takes 2.00 ms"
    )


def test_baselines_alone_recommend_nothing() -> None:
    assert answer_of(a_run({"no_bias": [1.0]})).by_how_much == (
        "Only baselines were measured here."
    )


CALM = [1.0, 1.01, 0.99]


def test_an_answer_of_a_calm_machine_is_not_doubted() -> None:
    answer = answer_of(a_device())
    assert answer.doubt == ""
    assert answer.headline.startswith("native_window is fastest")


def test_a_machine_too_noisy_to_trust_is_told_with_what_would_help() -> None:
    answer = answer_of(a_run({"no_bias": CALM, "eager": [0.6, 1.0, 1.7]}))
    assert answer.doubt == (
        "Too noisy to trust: 1 of 1 ratios are known to no more than 10%. Stop what else runs "
        "(`doctor` names what disturbs), or run more --passes."
    )
    assert answer.headline == "eager looks fastest at the one length measured: 512 keys"


def test_it_is_told_where_there_can_be_no_interval() -> None:
    two = {"no_bias": CALM[:2], "eager": CALM[:2]}
    answer = answer_of(a_run(two, canaries=(6.0, 7.5)))
    assert answer.doubt.startswith("Too noisy to trust: the canary moved by 1.25x")
    assert answer.doubt.endswith("or run --passes 3 for intervals.")
    assert answer.headline.startswith("eager looks fastest")


def test_a_doubted_answer_is_never_sure() -> None:
    times = {"no_bias": [9.0] * 3, "eager": [2.0] * 3, "flex": [4.0] * 3}
    assert answer_of(a_run(times, canaries=(6.0, 6.0, 6.5))).how_sure.startswith("Sure: ")
    assert answer_of(a_run(times, canaries=(6.0, 6.0, 12.5))).how_sure == ""


def test_each_device_is_doubted_by_its_own_figures() -> None:
    noisy = a_run({"no_bias": CALM, "eager": [0.6, 1.0, 1.7]}, header=a_machine(key="cpu-other"))
    answers = page_data([a_device(), noisy]).answers
    (doubted,) = {answer.setup for answer in answers if answer.doubt}
    assert doubted.endswith("cpu-other")
