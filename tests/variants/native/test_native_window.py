"""native_window: right at any length, on any processor, and no weight beyond the stated is lost."""

import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import DTYPES as NAMES
from suite.cases.case import Case, Dtype
from suite.lanes import kernel_names
from tests.effort import examples
from tests.variants.attacks import ATTACKS, DTYPES, HEADS, drawn, logs_of_weights, spec_for
from tests.variants.formula import truth
from variants.compiled.flags import FLAGS, LEVELS, Level
from variants.host.hardware import cpu_flags
from variants.native import kernel_call, kernel_library
from variants.native.native_window import density, prepare
from variants.problem import Unsupported, alibi_slopes
from variants.windows import tolerance

CPU = torch.device("cpu")

CASES = [
    Case(heads=8, kv_heads=8, head_dim=64, q_len=1100, kv_len=1100, dtype="float32"),
    Case(heads=8, kv_heads=2, head_dim=64, q_len=1023, kv_len=1023, dtype="bfloat16", batch=2),
    Case(heads=12, kv_heads=12, head_dim=32, q_len=640, kv_len=640, dtype="float16", batch=3),
    Case(heads=6, kv_heads=2, head_dim=80, q_len=150, kv_len=431, dtype="float32", layout="bnhd"),
    Case(heads=6, kv_heads=2, head_dim=80, q_len=150, kv_len=431, dtype="bfloat16", layout="bnhd"),
    Case(heads=3, kv_heads=3, head_dim=17, q_len=90, kv_len=1501, dtype="float32", batch=2),
    Case(heads=3, kv_heads=3, head_dim=17, q_len=90, kv_len=1501, dtype="bfloat16"),
    Case(heads=2, kv_heads=1, head_dim=256, q_len=257, kv_len=257, dtype="bfloat16"),
    Case(heads=2, kv_heads=1, head_dim=256, q_len=257, kv_len=257, dtype="float32"),
    Case(heads=8, kv_heads=8, head_dim=64, q_len=700, kv_len=700, dtype="float32", logit_scale=16),
    Case(heads=8, kv_heads=8, head_dim=64, q_len=700, kv_len=700, dtype="bfloat16", logit_scale=16),
    Case(heads=8, kv_heads=8, head_dim=64, q_len=4000, kv_len=4000, dtype="float32"),
    Case(heads=8, kv_heads=2, head_dim=64, q_len=999, kv_len=999, dtype="float32", causal=False),
    Case(heads=8, kv_heads=2, head_dim=64, q_len=999, kv_len=999, dtype="bfloat16", causal=False),
    Case(heads=8, kv_heads=8, head_dim=32, q_len=700, kv_len=130, dtype="float32", causal=False),
    Case(heads=8, kv_heads=8, head_dim=32, q_len=130, kv_len=700, dtype="bfloat16", causal=False),
    Case(heads=8, kv_heads=8, head_dim=32, q_len=1, kv_len=700, dtype="bfloat16", causal=False),
]

the_same_everywhere = settings(
    max_examples=examples(40),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def agrees(case: Case) -> bool:
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    return check(prepare(spec), spec, inputs, answers="alibi", seed=0).agrees


def answer(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, *, causal: bool = True) -> Tensor:
    return prepare(replace(spec_for(q, k), causal=causal))(q, k, v, slopes)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_it_agrees_where_heads_have_windows_of_their_own(case: Case) -> None:
    assert agrees(case)


WIDTH_OF = {"x86-64-v3": "AVX", "x86-64-v4": "AVX512"}
NARROWER = {"x86_64": ["x86-64", "x86-64-v3", "x86-64-v4"], "aarch64": ["armv8-a"]}


@pytest.mark.parametrize("processor", NARROWER.get(platform.machine(), []))
@pytest.mark.heavy
def test_it_agrees_on_narrower_vectors_and_without_tiles(
    processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if WIDTH_OF.get(processor, "") not in torch.backends.cpu.get_cpu_capability():
        pytest.skip("this processor is narrower")
    narrower = kernel_library.load([*FLAGS, f"-march={processor}"])
    assert not narrower.has_bfloat16()
    monkeypatch.setattr(kernel_call, "library", lambda: narrower)
    assert all(agrees(case) for case in CASES)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.heavy
def test_it_agrees_as_a_wheel_brings_it(level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    if not level.features <= cpu_flags():
        pytest.skip("this processor lacks the level's features")
    shipped = kernel_library.load(level.flags)
    assert shipped.has_bfloat16() == ("amx_bf16" in level.features)
    monkeypatch.setattr(kernel_call, "library", lambda: shipped)
    assert all(agrees(case) for case in CASES)


@the_same_everywhere
@given(
    kv_len=st.integers(1, 900),
    fewer=st.sampled_from([0, 0, 1, 63, 64, 300]),
    dtype=st.sampled_from(NAMES),
    batch=st.sampled_from([1, 3]),
    causal=st.booleans(),
    kv_heads=st.sampled_from([1, 2, 4]),
    head_dim=st.sampled_from([8, 16, 33, 64]),
    logit_scale=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_any_length_agrees(
    kv_len: int,
    fewer: int,
    dtype: Dtype,
    batch: int,
    kv_heads: int,
    head_dim: int,
    logit_scale: float,
    *,
    causal: bool,
) -> None:
    q_len = max(2, kv_len - fewer)
    case = Case(
        heads=4,
        kv_heads=kv_heads,
        head_dim=head_dim,
        q_len=q_len,
        kv_len=max(q_len, kv_len),
        dtype=dtype,
        batch=batch,
        causal=causal,
        logit_scale=logit_scale,
    )
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    found = check(prepare(spec), spec, inputs, answers="alibi", seed=0)
    assert found.error <= max(2 * found.budget, 1e-6 * logit_scale**2), found


def looked_at(q: Tensor, k: Tensor, slopes: Tensor, *, causal: bool = True) -> Tensor:
    """Say which keys gave a query anything: [batch, heads, q_len, kv_len].

    The values of each block of keys are 1 in a column of their own.
    """
    v = torch.zeros_like(k)
    for block in range(-(-k.shape[2] // kernel_library.BLOCK)):
        v[:, :, block * kernel_library.BLOCK : (block + 1) * kernel_library.BLOCK, block] = 1
    blocks = answer(q, k, v, slopes, causal=causal) != 0
    return blocks.repeat_interleave(kernel_library.BLOCK, dim=-1)[..., : k.shape[2]]


def most_left_out(q: Tensor, k: Tensor, slopes: Tensor, *, causal: bool = True) -> float:
    """Return the largest share of any row's weight that was not looked at."""
    weights = logs_of_weights(q, k, slopes, causal=causal).exp()
    return (weights * ~looked_at(q, k, slopes, causal=causal)).sum(dim=-1).max().item()


@pytest.mark.matrix
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_no_attack_makes_a_row_lose_weight(
    attack: Callable[[Tensor, Tensor], None], dtype: torch.dtype, *, causal: bool
) -> None:
    q, k = drawn(1000, dtype=dtype)
    slopes = alibi_slopes(HEADS)
    spec = replace(spec_for(q, k), causal=causal)
    plain = density(spec, q, k, k, slopes)
    attack(q, k)
    assert most_left_out(q, k, slopes, causal=causal) <= tolerance(dtype)
    assert density(spec, q, k, k, slopes) >= plain


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_nor_does_one_that_comes_from_behind_when_attention_is_bidirectional(
    attack: Callable[[Tensor, Tensor], None], dtype: torch.dtype
) -> None:
    q, k = drawn(1000, dtype=dtype)
    attack(q, k)
    backwards = [one.flip(2) for one in (q, k)]
    lost = most_left_out(backwards[0], backwards[1], alibi_slopes(HEADS), causal=False)
    assert lost <= tolerance(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_at_a_logit_scale_of_16_nothing_of_weight_is_lost(dtype: torch.dtype) -> None:
    q, k = drawn(700, dtype=dtype, size=16)
    assert most_left_out(q, k, alibi_slopes(HEADS)) <= tolerance(dtype)


@pytest.mark.parametrize("size", [6e4, 1e-7])
def test_nor_at_the_ends_of_float16(size: float) -> None:
    q, k = drawn(300, dtype=torch.float16)
    q, k = q.clamp(-1, 1) * size, k.clamp(-1, 1) * size
    assert most_left_out(q, k, alibi_slopes(HEADS)) <= tolerance(torch.float16)


def test_nor_where_many_far_keys_add_up() -> None:
    q, k = torch.ones(1, 1, 2, 32), torch.ones(1, 1, 1900, 32)
    k[:, :, -602:-2] = -1  # so that a row's own key is nearly all of its weight
    assert most_left_out(q, k, torch.tensor([2.0**-5])) <= tolerance(torch.float32)


def test_nor_where_the_last_query_of_a_block_alone_needs_more() -> None:
    q, k = torch.zeros(1, 1, 320, 32), torch.zeros(1, 1, 320, 32)
    q[:, :, -1] = 1.0
    k[:, :, -128:] = -60 / 32**0.5
    assert most_left_out(q, k, torch.tensor([0.5])) <= tolerance(torch.float32)


@pytest.mark.parametrize("slope", [1e-45, 1e-43, 1e-38])
def test_a_slope_too_small_for_float32_leaves_out_nothing_of_weight(slope: float) -> None:
    q, k = drawn(700)
    assert most_left_out(q, k, torch.full((HEADS,), slope)) <= tolerance(torch.float32)


def test_nor_where_squares_of_keys_are_flushed_to_0() -> None:
    q, k = torch.full((1, 1, 192, 32), 3.2e18), torch.full((1, 1, 192, 32), -1.05e-19)
    k[:, :, :64] *= -1
    slope = torch.tensor([0.306])  # at which far scores of 0 would just not matter
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor flushes nothing")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the one that flushes
    try:
        lost = most_left_out(q, k, slope)
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
    assert lost <= tolerance(torch.float32)


@pytest.mark.parametrize("key", [3, 100])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_far_key_that_is_no_number_reaches_every_later_row(
    wrong: float, dtype: torch.dtype, key: int
) -> None:
    q, k = drawn(700, dtype=dtype)
    q[..., 0] = 1.0
    k[:, :, key, 0] = wrong
    out = answer(q, k, k.nan_to_num(0, 0, 0), alibi_slopes(HEADS))
    assert out[:, :, key:].isnan().all()
    assert out[:, :, :key].isfinite().all()


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("slope", [0.0, -0.1, 200.0, math.nan])
def test_slopes_may_be_anything(slope: float, *, causal: bool) -> None:
    q, k = drawn(300)
    slopes = torch.full((HEADS * 2,), slope)[::2]
    found = answer(q, k, k, slopes, causal=causal)
    wanted = truth(q, k, k, slopes, causal=causal)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_a_bias_that_rises_with_distance_is_bounded_by_a_block_s_farthest_key() -> None:
    q, k = torch.ones(1, 1, 128, 32), torch.zeros(1, 1, 128, 32)
    k[:, :, 64:] = 80 / 32**0.5
    assert most_left_out(q, k, torch.tensor([-1.0])) <= tolerance(torch.float32)


def test_what_a_later_key_holds_changes_no_bit_of_a_row() -> None:
    q, k = drawn(200)
    before = answer(q, k, k, alibi_slopes(HEADS))
    k[:, :, 150:] = 1e30
    assert torch.equal(answer(q, k, k, alibi_slopes(HEADS))[:, :, :150], before[:, :, :150])


def test_heads_of_large_models_leave_out_what_they_can() -> None:
    q, k = drawn(2000)
    share = density(spec_for(q, k), q, k, k, torch.tensor([0.5, 0.5, 2.0**-8, 0.0]))
    seen = looked_at(q, k, torch.tensor([0.5, 0.5, 2.0**-8, 0.0]))[:, :, -1].sum(dim=-1)
    assert (seen[:, :2] <= 200).all()
    assert (seen[:, 2:] == 2000).all()
    assert 0.5 < share < 0.6


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
def test_density_is_1_where_norms_are_huge(*, causal: bool) -> None:
    q, k = drawn(500, size=100)
    spec = replace(spec_for(q, k), causal=causal)
    assert density(spec, q, k, k, alibi_slopes(HEADS)) == 1


@pytest.mark.parametrize("outlier", [0, 999])
def test_an_outlier_key_widens_no_window_on_the_other_side(outlier: int) -> None:
    q, k = drawn(1000)
    slopes, there = alibi_slopes(HEADS), torch.arange(1000) > 500
    other = there if outlier == 0 else ~there
    plain = looked_at(q, k, slopes, causal=False)
    k[:, :, outlier] *= 40
    seen = looked_at(q, k, slopes, causal=False)
    assert not (seen & ~plain)[:, :, 448:512, other].any()
    assert seen[:, :, 448:512, outlier].any(dim=-1).all()


def test_rows_that_fill_up_a_block_look_no_further_than_the_last_query() -> None:
    q, k = torch.ones(1, 1, 20, 32), -torch.ones(1, 1, 1900, 32)
    k[:, :, -20:] = 5.0
    seen = looked_at(q, k, torch.tensor([2.0**-5]))[0, 0, -1].sum()
    assert seen < 400


def test_a_row_whose_own_keys_are_out_of_the_question_has_the_others() -> None:
    q, k = torch.ones(1, 1, 200, 32), torch.zeros(1, 1, 200, 32)
    k[:, :, 128:] = -math.inf
    v = torch.randn(1, 1, 200, 32)
    found, wanted = (attention(q, k, v, torch.tensor([0.1])) for attention in (answer, truth))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)


def test_a_buffer_that_no_call_may_write_to_stays_as_it_was() -> None:
    q, k = drawn(333, dtype=torch.bfloat16)
    guarded = [torch.cat([one, torch.full_like(one, 7.0)], dim=2) for one in (q, k, k)]
    parts = [one[:, :, : one.shape[2] // 2] for one in guarded]
    before = [one.clone() for one in guarded]
    answer(parts[0], parts[1], parts[2], alibi_slopes(HEADS))
    assert all(torch.equal(one, other) for one, other in zip(guarded, before, strict=True))


def test_half_precision_is_rounded_and_not_cut_off() -> None:
    q, k = drawn(500, dtype=torch.bfloat16)
    wanted = truth(q, k, k.abs())
    off = (answer(q, k, k.abs(), alibi_slopes(HEADS)) - wanted) / wanted
    assert off.mean().abs() < 3e-4


def test_torch_finds_its_own_tiles_as_they_were() -> None:
    q, k = drawn(500, dtype=torch.bfloat16)
    before = q @ k.mT, scaled_dot_product_attention(q, k, k, is_causal=True)
    answer(q, k, k, alibi_slopes(HEADS))
    after = q @ k.mT, scaled_dot_product_attention(q, k, k, is_causal=True)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_profiler_names_it() -> None:
    q, k = drawn(70)
    names = kernel_names.attention_kernels(lambda: answer(q, k, k, alibi_slopes(HEADS)))
    assert names == ["alibi_bench::native_window"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_compiled_model_keeps_it_whole() -> None:
    q, k = drawn(70)
    attention = prepare(spec_for(q, k))
    graph = torch.compile(attention, fullgraph=True, backend="aot_eager")
    slopes = alibi_slopes(HEADS)
    assert torch.equal(graph(q, k, k, slopes), attention(q, k, k, slopes))


def test_a_machine_without_a_compiler_is_declined_before_any_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(kernel_library, "_has_loaded", lambda: False)
    with pytest.raises(Unsupported, match="native_window needs a C"):
        prepare(spec_for(*drawn(70)))


def test_kernels_that_are_loaded_need_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = drawn(70)
    answer(q, k, k, alibi_slopes(HEADS))
    monkeypatch.setenv("CXX", "no-such-compiler")
    prepare(spec_for(q, k))


def test_room_for_a_head_is_limited() -> None:
    q = torch.zeros(1, 1, 4, 257)
    with pytest.raises(Unsupported, match="head_dim 257: the kernel has room for 256"):
        prepare(spec_for(q, q))


def test_large_scores_of_equal_keys_keep_their_digits() -> None:
    """With slopes and scale multiplied by log2(e) scores of 985 once were off by 2e-5."""
    q, v = torch.ones(1, HEADS, 128, 64), torch.randn(1, HEADS, 128, 64)
    spec = replace(spec_for(q, q), scale=985 / 64)
    wanted = truth(q, q, v, scale=985 / 64)
    off = (prepare(spec)(q, q, v, alibi_slopes(HEADS)) - wanted).norm(dim=-1) / wanted.norm(dim=-1)
    assert off.max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_weight_of_nothing_is_0_whatever_its_value(dtype: torch.dtype) -> None:
    """Weights once ended at 2^-100, which times a value of 1e30 is 0.8."""
    q, k, v = (torch.ones(1, 1, 200, 8, dtype=dtype) for _ in range(3))
    k[:, :, :100] = -1
    v[:, :, :100] = 1e30
    spec = replace(spec_for(q, k), scale=3000 / 8)
    out = prepare(spec)(q, k, v, torch.tensor([1e-4]))[:, :, 100:]
    torch.testing.assert_close(out, torch.ones_like(out))


IN_A_SMALL_STACK = """
import threading, torch
from variants.attention import alibi_attention

q = torch.randn(1, 8, 300, 256)
threading.stack_size(128 << 10)
thread = threading.Thread(target=lambda: alibi_attention(q, q, q, variant="native_window"))
thread.start()
thread.join()
print("done")
"""


@pytest.mark.heavy
def test_a_small_stack_is_room_enough() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_SMALL_STACK],
        env=os.environ | {"OMP_STACKSIZE": "64k", "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "done\n", done.stderr
