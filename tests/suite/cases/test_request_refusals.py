"""What can't be measured is refused in one line that names it and says what to ask for instead."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite.cases.plan import Plan
from suite.cases.sweeps import SWEEPS
from suite.failures import BadRequest
from suite.lanes.protocol import Prepare
from tests.effort import examples
from tests.suite.plans import NAMES, plan_of
from variants.catalog import BASELINE

calmly = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(300)
)


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("lengths", "0", "--lengths 0: a length is at least 1"),
        ("lengths", "512,-3", "--lengths -3: a length is at least 1"),
        ("lengths", "abc", "--lengths abc: a length is a whole number of tokens"),
        ("lengths", "1.5", "--lengths 1.5: a length is a whole number of tokens"),
        ("lengths", "1k", "--lengths 1k: a length is a whole number of tokens"),
        (
            "lengths",
            "512,,1024",
            "--lengths '512,,1024': name at least one, separated by single commas",
        ),
        ("lengths", "", "--lengths '': name at least one, separated by single commas"),
        ("variants", " ", "--variants ' ': name at least one, separated by single commas"),
        ("variants", "flx", "--variants flx: no such name; did you mean flex? There are"),
        (
            "variants",
            "eager,sdpamask",
            "--variants sdpamask: no such name; did you mean sdpa_mask? There are",
        ),
        ("modes", "forwards", "--modes forwards: no such name; did you mean forward? There are"),
        ("modes", "x", "--modes x: no such name; there are forward, backward, decode"),
        ("dtypes", "bf8", "--dtypes bf8: no such name; there are float32, bfloat16, float16"),
        ("dtypes", "int", "--dtypes int: no such name; there are float32, bfloat16, float16"),
        ("sweep", "smok", "--sweep smok: no such name; did you mean smoke? There are"),
        ("batch", 0, "--batch 0: give at least 1"),
        ("requests", "512", "--requests '512': give count x queries : keys, as 2x1:4096"),
        ("requests", "9:8", "--requests 9:8: give at least 1 query, and as many keys or more"),
        ("seq_lens", "512,0", "--seq-lens 0: a length is at least 1"),
        ("seq_lens", "512,", "--seq-lens : a length is a whole number of tokens"),
        ("q_len", 0, "--q-len 0: give at least 1"),
        (
            "q_len",
            129,
            "--sweep and --q-len make no case: q_len 129 is over kv_len 128: the first "
            "causal queries would have no key; give longer lengths or fewer queries",
        ),
        ("heads", -1, "--heads -1: give at least 1"),
        ("head_dim", 0, "--head-dim 0: give at least 1"),
        ("passes", 0, "--passes 0: give at least 1"),
        ("logit_scale", 0.0, "--logit-scale 0: give a factor over 0, at most 1000"),
        ("logit_scale", 1001.0, "--logit-scale 1001: give a factor over 0, at most 1000"),
        ("logit_scale", float("nan"), "--logit-scale nan: give a factor over 0, at most 1000"),
        ("step_timeout", "5x", "--step-timeout 5x: give a duration such as 90s, 8m or 1h"),
        ("step_timeout", "90", "--step-timeout 90: give a duration such as 90s, 8m or 1h"),
        ("step_timeout", "0s", "--step-timeout 0s: give a duration such as 90s, 8m or 1h"),
        ("step_timeout", "s", "--step-timeout s: give a duration such as 90s, 8m or 1h"),
    ],
)
def test_a_mistake_is_named_with_a_way_out(option: str, value: object, line: str) -> None:
    with pytest.raises(BadRequest) as refused:
        plan_of(**{option: value})
    said = str(refused.value)
    assert said == line or (said.startswith(line) and line.endswith("There are"))


def test_more_cells_than_a_file_may_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.cases.plan.MOST_CELLS", 12)
    assert len(plan_of(modes="forward", lengths="1,2", variants="eager").cases) == 2 * 3
    with pytest.raises(BadRequest, match="9 cases of 2 variants are 18 cells: plan at most 12, an"):
        plan_of(modes="forward", lengths="1,2,3", variants="eager")


def test_a_name_that_does_not_exist_is_answered_with_all_that_do() -> None:
    with pytest.raises(BadRequest) as refused:
        plan_of(dtypes="float8")
    assert str(refused.value).endswith("There are float32, bfloat16, float16")


@pytest.mark.parametrize("option", ["sweep", "lengths", "dtypes", "modes", "variants", "models"])
def test_every_list_names_the_word_that_is_wrong(option: str) -> None:
    with pytest.raises(BadRequest) as refused:
        plan_of(**{"sweep": None, option: "xyzzy"})
    assert str(refused.value).startswith(f"--{option} xyzzy: ")


def lists_of(*likely: str) -> st.SearchStrategy[str | None]:
    """Text in which words that exist are frequent, among any others."""
    words = st.lists(st.sampled_from(likely) | st.text(max_size=8), max_size=4)
    return st.none() | words.map(",".join)


integers = st.none() | st.integers(-2, 9) | st.integers()


@calmly
@given(
    device=st.sampled_from(["cpu", "cuda:0", "cuda:1"]),
    sweep=st.none() | st.sampled_from(list(SWEEPS)) | st.text(),
    models=st.none() | st.sampled_from(["mpt-7b", "Refact-1.6B,bloom-3b", "x.json"]) | st.text(),
    lengths=lists_of("1", "512", " 512", "0512", "-1", "1_000", "99999999999999999999"),
    dtypes=lists_of("float32", "bfloat16"),
    modes=lists_of("forward", "backward", "decode"),
    q_len=integers,
    seq_lens=lists_of("1", "512", "0", "-1", "99999999999999999999"),
    requests=st.none() | lists_of("2x1:4096", "9:9", "9:8", "999999999x1:1", ":"),
    variants=lists_of(*NAMES),
    batch=integers,
    heads=integers,
    kv_heads=integers,
    head_dim=integers,
    noncausal=st.booleans(),
    layout=st.none() | st.sampled_from(["bhnd", "bnhd"]) | st.text(max_size=5),
    logit_scale=st.none() | st.floats(),
    passes=integers,
    seed=st.integers(),
    step_timeout=st.sampled_from(["90s", "8m"]) | st.text(max_size=8),
)
def test_whatever_is_asked_for_is_planned_or_refused(**options: Any) -> None:
    assert_planned_or_refused(options, "--")


@pytest.mark.parametrize("option", ["lengths", "batch", "heads", "head_dim", "passes", "seed"])
def test_a_number_beyond_all_measure_is_planned_or_refused(option: str) -> None:
    number = 10**30
    options = {option: str(number) if option == "lengths" else number}
    assert_planned_or_refused(options, f"--{option.replace('_', '-')} {number}: ")


def assert_planned_or_refused(options: dict[str, Any], opening: str) -> None:
    """Say that a plan can be written down and told to a lane, or is refused by name."""
    made: Plan | BadRequest
    try:
        made = plan_of(**options)
    except BadRequest as refused:
        made = refused
    if isinstance(made, BadRequest):
        assert str(made).startswith(opening)
        return
    assert made.cases
    assert len(set(made.cases)) == len(made.cases)
    assert made.passes >= 1
    assert made.step_timeout_s > 0
    assert BASELINE.name in made.variants
    assert set(made.variants) <= set(NAMES)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan) == made
    for case in made.cases:
        msgspec.msgpack.encode(Prepare(case, made.seed))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"requests": "3x1:40,20:60", "modes": "backward"},
            r"--requests and --modes make no case: .* is forward$",
        ),
        ({"norms": True}, "--norms makes no case: norms are kept beside a cache: give decode"),
        ({"layout": "paged"}, "--layout makes no case: layout paged is of a cache"),
        (
            {"lengths": "64", "modes": "decode", "noncausal": True},
            "--lengths and --modes and --noncausal make no case: decode: a bidirectional",
        ),
    ],
    ids=["requests", "norms", "pages", "three"],
)
def test_options_that_make_no_case_are_those_that_were_typed(
    options: dict[str, Any], line: str
) -> None:
    with pytest.raises(BadRequest, match=f"^{line}"):
        plan_of(sweep=None, **options)
