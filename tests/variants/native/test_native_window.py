"""native_window: right at any length and on any processor, alone and inside of torch."""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import DTYPES as NAMES
from suite.cases.case import Case, Dtype
from suite.lanes import kernel_names
from tests.variants.agreement import agrees_with_oracle
from tests.variants.attacks import HEADS, draw_qk, spec_for
from tests.variants.formula import truth
from tests.variants.native.dense_answer import answer
from tests.variants.same_draws import same_draws
from variants.compiled.flags import FLAGS, LEVELS, Level
from variants.host.hardware import cpu_flags
from variants.native import kernel_call, kernel_library
from variants.native.native_window import prepare
from variants.problem import Unsupported, alibi_slopes

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
    same_draws(40),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


agrees = partial(agrees_with_oracle, prepare)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_it_agrees_where_heads_have_windows_of_their_own(case: Case) -> None:
    assert agrees(case)


OLDEST = {"x86_64": "x86-64", "aarch64": "armv8-a"}


@pytest.mark.skipif(platform.machine() not in OLDEST, reason="no flag for its oldest processors")
@pytest.mark.heavy
def test_it_agrees_on_the_oldest_processors_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    oldest = kernel_library.load([*FLAGS, f"-march={OLDEST[platform.machine()]}"])
    assert not oldest.packed_width(64, 64)
    monkeypatch.setattr(kernel_call, "library", lambda: oldest)
    assert all(agrees(case) for case in CASES)


@pytest.mark.heavy
def test_it_agrees_as_clang_builds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("clang++") is None:
        pytest.skip("clang++ is not on the PATH")
    monkeypatch.setenv("CXX", "clang++")
    built = kernel_library.load(FLAGS)
    monkeypatch.setattr(kernel_call, "library", lambda: built)
    assert all(agrees(case) for case in CASES)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.heavy
def test_it_agrees_as_a_wheel_brings_it(level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    if not level.features <= cpu_flags():
        pytest.skip("this processor lacks the level's features")
    shipped = kernel_library.load(level.flags)
    assert (shipped.packed_width(64, 64) > 0) == ("avx512_bf16" in level.features)
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


def test_a_buffer_that_no_call_may_write_to_stays_as_it_was() -> None:
    q, k = draw_qk(333, dtype=torch.bfloat16)
    guarded = [torch.cat([one, torch.full_like(one, 7.0)], dim=2) for one in (q, k, k)]
    parts = [one[:, :, : one.shape[2] // 2] for one in guarded]
    before = [one.clone() for one in guarded]
    answer(parts[0], parts[1], parts[2], alibi_slopes(HEADS))
    assert all(torch.equal(one, other) for one, other in zip(guarded, before, strict=True))


def test_half_precision_is_rounded_and_not_cut_off() -> None:
    q, k = draw_qk(500, dtype=torch.bfloat16)
    wanted = truth(q, k, k.abs())
    off = (answer(q, k, k.abs(), alibi_slopes(HEADS)) - wanted) / wanted
    assert off.mean().abs() < 3e-4


def test_torch_finds_its_own_tiles_as_they_were() -> None:
    q, k = draw_qk(500, dtype=torch.bfloat16)
    before = q @ k.mT, scaled_dot_product_attention(q, k, k, is_causal=True)
    answer(q, k, k, alibi_slopes(HEADS))
    after = q @ k.mT, scaled_dot_product_attention(q, k, k, is_causal=True)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_profiler_names_it() -> None:
    q, k = draw_qk(70)
    names = kernel_names.attention_kernels(lambda: answer(q, k, k, alibi_slopes(HEADS)))
    assert names == ["alibi_bench::native_window"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_compiled_model_keeps_it_whole() -> None:
    q, k = draw_qk(70)
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
        prepare(spec_for(*draw_qk(70)))


def test_kernels_that_are_loaded_need_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = draw_qk(70)
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
