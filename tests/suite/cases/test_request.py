"""What is asked for takes the place of the sweep's part; nothing is planned twice."""

from pathlib import Path

import pytest

from suite.cases.plan import pairs_plan
from suite.cases.request import Request
from suite.cases.sweeps import SWEEPS, Shape
from suite.failures import BadRequest
from tests.suite.plans import NAMES, plan_of
from variants.catalog import BASELINE, PEERS, Variant, on


def test_nothing_asked_for_is_the_sweep_in_every_variant_of_the_device() -> None:
    made = plan_of(sweep="training")
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
    made = plan_of(device=device, sweep=None)
    assert made.cases == tuple(SWEEPS[sweep].cases())
    assert made.variants == tuple(variant.name for variant in on(kind))
    assert made.passes == SWEEPS[sweep].passes
    assert made.device == device


@pytest.mark.parametrize("request_", [Request(), Request(models="mpt-7b"), Request(sweep="decode")])
def test_on_an_old_gpu_what_is_not_typed_is_in_float16(request_: Request) -> None:
    assert {case.dtype for case in request_.plan("cuda:0", "float16").cases} == {"float16"}
    assert {case.dtype for case in request_.plan("cuda:0", "bfloat16").cases} == {"bfloat16"}


def test_on_an_old_gpu_bfloat16_can_be_typed() -> None:
    cases = Request(dtypes="bfloat16").plan("cuda:0", "float16").cases
    assert {case.dtype for case in cases} == {"bfloat16"}


def test_a_sweep_without_a_name_is_refused() -> None:
    with pytest.raises(BadRequest, match="--sweep : no such name; there are"):
        plan_of(sweep="")


def test_a_variant_of_another_device_may_be_asked_for_by_name() -> None:
    made = plan_of(variants="sdpa_mask_efficient")
    assert made.variants == (BASELINE.name, "sdpa_mask_efficient")


def test_heads_take_the_place_of_those_of_every_shape() -> None:
    made = plan_of(device="cuda:0", sweep="gpu", heads=4)
    shapes = {(case.heads, case.kv_heads, case.head_dim, case.slope_scale) for case in made.cases}
    assert shapes == {(4, 4, 128, "1"), (4, 4, 64, "1/sqrt(d)")}
    made = plan_of(device="cuda:0", sweep="gpu", head_dim=16)
    shapes = {(case.heads, case.kv_heads, case.head_dim, case.slope_scale) for case in made.cases}
    assert shapes == {(32, 32, 16, "1"), (32, 32, 16, "1/sqrt(d)")}


def test_shapes_that_become_equal_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    two = SWEEPS["smoke"]._replace(shapes=(Shape(8, 64), Shape(16, 64)))
    monkeypatch.setitem(SWEEPS, "two", two)
    assert len(plan_of(sweep="two").cases) == 2 * len(SWEEPS["smoke"].cases())
    made = plan_of(sweep="two", heads=4)
    assert made.cases == plan_of(heads=4).cases


def test_what_is_asked_for_takes_the_place_of_the_sweeps_part() -> None:
    made = plan_of(
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
    made = plan_of(**{option: value})
    assert len(set(made.cases)) == len(made.cases)
    assert len(set(made.variants)) == len(made.variants)


@pytest.mark.parametrize("names", ["flex", "sdpa_key,eager", "no_bias", ",".join(NAMES[::-1])])
def test_the_baseline_always_joins_in_the_order_of_the_catalog(names: str) -> None:
    made = plan_of(variants=names)
    wanted = {*names.split(","), BASELINE.name}
    assert made.variants == tuple(name for name in NAMES if name in wanted)


def test_words_name_the_default_set_and_the_peers_of_the_device() -> None:
    default = tuple(variant.name for variant in on("cpu"))
    assert plan_of(variants="default").variants == default
    peers = [peer.name for peer in PEERS if peer.device != "cuda"]
    assert peers
    assert plan_of(variants="flex,peers").variants == (BASELINE.name, "flex", *peers)
    assert plan_of(variants="default,peers,ggml").variants == (*default, *peers)
    on_cuda = Request(variants="peers").plan("cuda").variants
    assert set(on_cuda) == {
        BASELINE.name,
        *(peer.name for peer in PEERS if peer.device in {"any", "cuda"}),
    }


def test_a_variant_may_have_an_interpreter_of_its_own() -> None:
    plan = Request(variants="flex,eager", python=("flex=/opt/python",)).plan("cpu")
    assert plan.pythons == (("flex", "/opt/python"),)
    kernel = f"{Path(__file__).parents[3]}/examples/my_kernel.py?block=16"
    named = Request(variants=f"flex,{kernel}", python=("my_kernel.py?block=16=/opt/python",))
    assert named.plan("cpu").pythons == (("my_kernel.py?block=16", "/opt/python"),)
    for word, complaint in (
        ("flex", "--python flex: give a variant and a program, NAME=PROGRAM"),
        ("flex=", "NAME=PROGRAM"),
        (
            "sdpa_mask=/opt/python",
            "--python sdpa_mask: no such name; there are no_bias, eager, flex",
        ),
    ):
        with pytest.raises(BadRequest, match=complaint):
            Request(variants="flex,eager", python=(word,)).plan("cpu")


def test_pairs_have_one_pass_no_baseline_and_what_only_the_base_still_has() -> None:
    base = [
        Variant("renamed", "variants.renamed"),
        Variant("for_cuda", "variants.for_cuda", device="cuda"),
        Variant("flex", "variants.flex.flex"),
    ]
    made = pairs_plan(plan_of(), base)
    assert made.passes == 1
    assert made.variants == (*(one.name for one in on("cpu") if one != BASELINE), "renamed")
    assert pairs_plan(plan_of(variants="flex")).variants == ("flex",)


def test_heads_may_share_keys_see_everything_and_lie_as_models_hold_them() -> None:
    for case in plan_of(heads=12, kv_heads=3, noncausal=True, layout="bnhd").cases:
        assert (case.heads, case.kv_heads, case.causal, case.layout) == (12, 3, False, "bnhd")


def test_heads_that_cannot_share_evenly_are_refused() -> None:
    with pytest.raises(BadRequest, match="--kv-heads 3: 8 heads can't share them evenly"):
        plan_of(kv_heads=3)
