"""What is asked for becomes a plan, or one line that names it and says what to ask for instead."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite.asked import BadRequest
from suite.plan import check_resumable, paired, plan
from suite.protocol import Prepare
from suite.record import Machine, Plan
from suite.sweeps import SWEEPS, Shape
from tests.records import a_machine, a_plan
from variants.catalog import BASELINE, CATALOG, Variant, on

NOTHING: dict[str, Any] = {
    "device": "cpu",
    "sweep": "smoke",
    "models": None,
    "lengths": None,
    "dtypes": None,
    "modes": None,
    "q_len": None,
    "seq_lens": None,
    "variants": None,
    "batch": None,
    "heads": None,
    "kv_heads": None,
    "head_dim": None,
    "noncausal": False,
    "layout": None,
    "logit_scale": None,
    "passes": None,
    "seed": 0,
    "step_timeout": "60s",
}
calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
NAMES = [variant.name for variant in CATALOG]


def asked(**options: Any) -> Plan:
    """Return the plan of a command line that gives these options alone."""
    return plan(**NOTHING | options)


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
        ("dtypes", "bf16", "--dtypes bf16: no such name; did you mean bfloat16? There are"),
        ("dtypes", "int", "--dtypes int: no such name; there are float32, bfloat16, float16"),
        ("sweep", "smok", "--sweep smok: no such name; did you mean smoke? There are"),
        ("batch", 0, "--batch 0: give at least 1"),
        ("seq_lens", "512,0", "--seq-lens 0: a length is at least 1"),
        ("seq_lens", "512,", "--seq-lens : a length is a whole number of tokens"),
        ("q_len", 0, "--q-len 0: give at least 1"),
        (
            "q_len",
            129,
            "--lengths, --q-len and --modes make no case: q_len 129 is over kv_len 128: the first "
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
        asked(**{option: value})
    said = str(refused.value)
    assert said == line or (said.startswith(line) and line.endswith("There are"))


def test_a_name_that_does_not_exist_is_answered_with_all_that_do() -> None:
    with pytest.raises(BadRequest) as refused:
        asked(dtypes="float8")
    assert str(refused.value).endswith("There are float32, bfloat16, float16")


@pytest.mark.parametrize("option", ["sweep", "lengths", "dtypes", "modes", "variants", "models"])
def test_every_list_names_the_word_that_is_wrong(option: str) -> None:
    with pytest.raises(BadRequest) as refused:
        asked(**{"sweep": None, option: "xyzzy"})
    assert str(refused.value).startswith(f"--{option} xyzzy: ")


def test_nothing_asked_for_is_the_sweep_in_every_variant_of_the_device() -> None:
    made = asked(sweep="training")
    assert made.cases == tuple(SWEEPS["training"].cases())
    assert made.variants == tuple(variant.name for variant in on("cpu"))
    assert made.passes == SWEEPS["training"].passes
    assert made.device == "cpu"


@pytest.mark.parametrize(
    ("device", "kind", "sweep"),
    [("cpu", "cpu", "quick"), ("cuda:0", "cuda", "gpu"), ("cuda:1", "cuda", "gpu")],
)
def test_without_a_sweep_the_device_s_own_is_taken_in_its_variants(
    device: str, kind: str, sweep: str
) -> None:
    made = asked(device=device, sweep=None)
    assert made.cases == tuple(SWEEPS[sweep].cases())
    assert made.variants == tuple(variant.name for variant in on(kind))
    assert made.passes == SWEEPS[sweep].passes
    assert made.device == device


def test_a_sweep_without_a_name_is_refused() -> None:
    with pytest.raises(BadRequest, match="--sweep : no such name; there are"):
        asked(sweep="")


def test_a_variant_of_another_device_may_be_asked_for_by_name() -> None:
    made = asked(variants="sdpa_mask_efficient")
    assert made.variants == (BASELINE.name, "sdpa_mask_efficient")


def test_heads_take_the_place_of_those_of_every_shape() -> None:
    made = asked(device="cuda:0", sweep="gpu", heads=4)
    shapes = {(case.heads, case.kv_heads, case.head_dim, case.slope_scale) for case in made.cases}
    assert shapes == {(4, 4, 128, "1"), (4, 4, 64, "1/sqrt(d)")}
    made = asked(device="cuda:0", sweep="gpu", head_dim=16)
    shapes = {(case.heads, case.kv_heads, case.head_dim, case.slope_scale) for case in made.cases}
    assert shapes == {(32, 32, 16, "1"), (32, 32, 16, "1/sqrt(d)")}


def test_shapes_that_become_equal_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    two = SWEEPS["smoke"]._replace(shapes=(Shape(8, 64), Shape(16, 64)))
    monkeypatch.setitem(SWEEPS, "two", two)
    assert len(asked(sweep="two").cases) == 2 * len(SWEEPS["smoke"].cases())
    made = asked(sweep="two", heads=4)
    assert made.cases == asked(heads=4).cases


def test_what_is_asked_for_takes_the_place_of_the_sweeps_part() -> None:
    made = asked(
        lengths="640, 32",
        dtypes="bfloat16",
        modes="backward,forward",
        variants="flex",
        batch=2,
        heads=4,
        head_dim=16,
        logit_scale=3.0,
        passes=7,
        seed=11,
        step_timeout="8m",
    )
    assert [(case.mode, case.q_len, case.kv_len) for case in made.cases] == [
        ("backward", 640, 640),
        ("backward", 32, 32),
        ("forward", 640, 640),
        ("forward", 32, 32),
    ]
    parts = {(c.batch, c.heads, c.kv_heads, c.head_dim, c.dtype, c.logit_scale) for c in made.cases}
    assert parts == {(2, 4, 4, 16, "bfloat16", 3.0)}
    assert (made.passes, made.seed, made.step_timeout_s) == (7, 11, 480.0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("lengths", "16,32,16"),
        ("lengths", "16,016"),
        ("dtypes", "float32,float16, float32"),
        ("modes", "forward,forward"),
        ("variants", "eager,flex,eager"),
    ],
)
def test_what_is_named_twice_is_measured_once(option: str, value: str) -> None:
    made = asked(**{option: value})
    assert len(set(made.cases)) == len(made.cases)
    assert len(set(made.variants)) == len(made.variants)


@pytest.mark.parametrize("names", ["flex", "sdpa_key,eager", "no_bias", ",".join(NAMES[::-1])])
def test_the_baseline_always_joins_in_the_order_of_the_catalog(names: str) -> None:
    made = asked(variants=names)
    wanted = {*names.split(","), BASELINE.name}
    assert made.variants == tuple(name for name in NAMES if name in wanted)


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
    options = NOTHING | {option: str(number) if option == "lengths" else number}
    assert_planned_or_refused(options, f"--{option.replace('_', '-')} {number}: ")


def assert_planned_or_refused(options: dict[str, Any], opening: str) -> None:
    """Say that a plan can be written down and told to a lane, or is refused by name."""
    made: Plan | BadRequest
    try:
        made = plan(**options)
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


def now() -> Machine:
    """Return a machine whose plan names variants that exist."""
    return a_machine(a_plan(variants=NAMES))


def test_a_run_resumes_where_nothing_has_changed_but_its_surroundings() -> None:
    before = now()
    circumstances = msgspec.structs.replace(before.circumstances, load_1m=9.0, commit="1" * 40)
    later = msgspec.structs.replace(before, circumstances=circumstances, started="later", argv=())
    check_resumable(before, later)


@pytest.mark.parametrize(
    ("before", "fields"),
    [
        ({"key": "cpu-other"}, ["hardware key cpu-invented-2cores and not cpu-other"]),
        ({"torch": "2.11.0"}, ["torch 2.13.0 and not 2.11.0"]),
        ({"threads": 8}, ["threads 2 and not 8"]),
        (
            {"key": "cpu-other", "torch": "2.11.0", "threads": 8},
            ["hardware key cpu-invented-2cores", "torch 2.13.0 and", "threads 2 and not 8"],
        ),
    ],
    ids=["hardware", "torch", "threads", "all three"],
)
def test_a_run_under_other_conditions_does_not_resume_and_the_fields_are_named(
    before: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(BadRequest) as refused:
        check_resumable(a_machine(a_plan(variants=NAMES), **before), now())
    line = str(refused.value)
    assert line.startswith("--resume")
    assert "\n" not in line
    assert all(field in line for field in fields)
    assert line.count(" and not ") == len(fields)


def test_a_run_of_a_variant_that_is_gone_does_not_resume() -> None:
    before = a_machine(a_plan(variants=["no_bias", "flexx"]))
    with pytest.raises(BadRequest, match="variant flexx: no such name; did you mean flex"):
        check_resumable(before, now())


def test_models_bring_their_own_attention_lengths_and_batch() -> None:
    cases = asked(sweep=None, models="falcon-rw-1b,Refact-1.6B,mosaic-bert-base").cases
    by_batch = {case.batch for case in cases}
    falcon, refact, bert = (
        next(case for case in cases if (case.heads, case.kv_heads) == heads)
        for heads in ((32, 32), (32, 1), (12, 12))
    )
    assert by_batch == {1, 8}
    assert falcon.slope_scale == "1/sqrt(d)"
    assert [case.kv_len for case in cases if case.kv_heads == 1] == [1024, 2048, 4096, 8192, 16384]
    assert (refact.kv_len, refact.causal) == (1024, True)
    assert (bert.kv_len, bert.causal, bert.batch) == (128, False, 8)
    assert {case.dtype for case in cases} == {"bfloat16"}


def test_lengths_and_batch_that_are_asked_for_go_before_the_models_own() -> None:
    cases = asked(sweep=None, models="mosaic-bert-base", lengths="64", batch=2).cases
    assert [(case.kv_len, case.batch) for case in cases] == [(64, 2)]


def test_models_of_the_same_attention_are_measured_once() -> None:
    both = asked(sweep=None, models="bloom-7b1,mpt-7b")
    assert both.cases == asked(sweep=None, models="mpt-7b").cases


@pytest.mark.parametrize(("option", "value"), [("sweep", "quick"), ("heads", 4), ("head_dim", 64)])
def test_what_a_model_has_of_its_own_is_refused_beside_it(option: str, value: object) -> None:
    with pytest.raises(BadRequest, match=f"{value} beside --models: a model has its own"):
        asked(**{"sweep": None, "models": "mpt-7b", option: value})


def test_pairs_have_one_pass_no_baseline_and_what_only_the_base_still_has() -> None:
    base = [
        Variant("renamed", "variants.renamed"),
        Variant("for_cuda", "variants.for_cuda", device="cuda"),
        Variant("flex", "variants.flex"),
    ]
    made = paired(asked(), base)
    assert made.passes == 1
    assert made.variants == (*(one.name for one in on("cpu") if one != BASELINE), "renamed")
    assert paired(asked(variants="flex")).variants == ("flex",)


def test_heads_may_share_keys_see_everything_and_lie_as_models_hold_them() -> None:
    for case in asked(heads=12, kv_heads=3, noncausal=True, layout="bnhd").cases:
        assert (case.heads, case.kv_heads, case.causal, case.layout) == (12, 3, False, "bnhd")


def test_heads_that_cannot_share_evenly_are_refused() -> None:
    with pytest.raises(BadRequest, match="--kv-heads 3: 8 heads can't share them evenly"):
        asked(kv_heads=3)
