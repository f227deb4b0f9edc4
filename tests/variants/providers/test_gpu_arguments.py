"""What GPU providers are asked is the caller's ALiBi; stand-ins compute what each one documents."""

import functools
import importlib
import sys
import types
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.variants.providers import specs, stand_ins
from tests.variants.providers.specs import tensors
from variants.batches.sequences import Sequences
from variants.catalog import PEERS
from variants.problem import DENSE, Attention, Extras, Spec, Unsupported, alibi_slopes
from variants.reference import attend

GPU_PEERS = {peer.name: peer for peer in PEERS if peer.device == "cuda"}

CUTE = stand_ins.module(
    "cutlass.cute", make_fragment=stand_ins.Fragment, jit=lambda function: function
)
CUDNN = stand_ins.module(
    "cudnn",
    pygraph=stand_ins.CudnnGraph,
    data_type=types.SimpleNamespace(HALF="HALF", BFLOAT16="BFLOAT16", FLOAT="FLOAT"),
    diagonal_alignment=types.SimpleNamespace(BOTTOM_RIGHT="BOTTOM_RIGHT"),
    heur_mode=types.SimpleNamespace(A="A", FALLBACK="FALLBACK"),
)
MODULES = (
    stand_ins.module("flash_attn", flash_attn_func=stand_ins.flash_attn_func),
    stand_ins.module("flash_attn.cute", flash_attn_func=stand_ins.flash_attn_4_func),
    stand_ins.module("cutlass", Int32=torch.int32, Float32=torch.float32, cute=CUTE),
    CUTE,
    CUDNN,
    stand_ins.module(
        "flashinfer",
        single_prefill_with_kv_cache=stand_ins.flashinfer_prefill,
        single_decode_with_kv_cache=stand_ins.flashinfer_decode,
    ),
    stand_ins.module(
        "xformers.ops", memory_efficient_attention=stand_ins.memory_efficient_attention
    ),
    stand_ins.module(
        "transformer_engine.pytorch", DotProductAttention=stand_ins.DotProductAttention
    ),
    stand_ins.module(
        "vllm.v1.attention.ops.triton_unified_attention",
        unified_attention=stand_ins.unified_attention,
    ),
)

CASES: dict[str, dict[str, Any]] = {
    "prefill": {},
    "chunk": {"q_len": 9, "kv_len": 33},
    "decode": {"q_len": 1, "kv_len": 41},
    "another scale": {"scale": 0.5},
    "grouped heads": {"kv_heads": 2},
    "a batch": {"batch": 3, "q_len": 5, "kv_len": 19},
}
DECLINED = {("xformers", "grouped heads"), ("flashinfer", "a batch")}


def spec_of(**changes: Any) -> Spec:
    """Return a spec as a GPU's; what it is asked lies on the CPU."""
    usual = {"q_len": 24, "kv_len": 24, "dtype": torch.bfloat16, "device": torch.device("cuda")}
    return specs.spec_of(**usual | changes)


def error_of(attention: Attention, spec: Spec, slopes: Tensor) -> float:
    """Return the relative L2 error against the definition in float64."""
    q, k, v = tensors(spec)
    exact = attend(q.double(), k.double(), v.double(), slopes, scale=spec.scale, causal=spec.causal)
    out = attention(q, k, v, slopes)
    assert (out.shape, out.dtype) == (q.shape, q.dtype)
    return float((out.double() - exact).norm() / exact.norm())


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in MODULES:
        monkeypatch.setitem(sys.modules, module.__name__, module)
    flex = importlib.import_module("variants.providers.gpu.flex_flash")
    monkeypatch.setattr(flex, "flex_attention", stand_ins.flex_attention)
    monkeypatch.setattr(flex, "block_mask_of", lambda _: "a causal mask")
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    mod = importlib.import_module("variants.providers.gpu.flash_attn_4")
    monkeypatch.setattr(mod, "_alibi_mod", functools.cache(mod._alibi_mod.__wrapped__))


def prepare_provider(name: str, spec: Spec) -> Attention:
    attention: Attention = importlib.import_module(GPU_PEERS[name].module).prepare(spec)
    return attention


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", GPU_PEERS)
def test_a_provider_is_asked_for_the_callers_alibi_or_declines(name: str, case: str) -> None:
    spec = spec_of(**CASES[case])
    if (name, case) in DECLINED:
        with pytest.raises(Unsupported, match=r"takes? (as many kv heads|a batch of 1)"):
            prepare_provider(name, spec)
        return
    usual = alibi_slopes(spec.heads)
    for slopes in (usual, usual.flip(0)):
        assert error_of(prepare_provider(name, spec), spec, slopes) < 4e-3


@pytest.mark.parametrize("name", GPU_PEERS)
def test_slopes_of_another_rule_are_used_or_declined(name: str) -> None:
    spec, slopes = spec_of(), alibi_slopes(8, bias_max=16.0)
    if name in {"cudnn", "flashinfer"}:
        with pytest.raises(Unsupported, match="makes its own slopes for 8 heads"):
            error_of(prepare_provider(name, spec), spec, slopes)
    else:
        assert error_of(prepare_provider(name, spec), spec, slopes) < 4e-3


@pytest.mark.parametrize("name", GPU_PEERS)
def test_bidirectional_attention_is_right_or_declined(name: str) -> None:
    spec = spec_of(causal=False)
    if name in {"flash_attn", "xformers", "transformer_engine"}:
        assert error_of(prepare_provider(name, spec), spec, alibi_slopes(8)) < 4e-3
    elif name != "flex_flash":  # its mask is a stand-in here, and causal
        with pytest.raises(Unsupported, match="has no bidirectional ALiBi"):
            prepare_provider(name, spec)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": torch.device("cpu")}, "runs on cuda"),
        ({"dtype": torch.float64}, "and not float64"),
        ({"slopes_need_grad": True}, "gives the slopes no gradient"),
        ({"seq_lens": (9, 4), "batch": 2}, "batches of equal length"),
    ],
    ids=["cpu", "float64", "learned slopes", "ragged"],
)
@pytest.mark.parametrize("name", GPU_PEERS)
def test_what_no_provider_takes_is_declined_in_words(
    name: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(Unsupported, match=words):
        prepare_provider(name, spec_of(**changes))


@pytest.mark.parametrize("name", GPU_PEERS)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in MODULES:
        monkeypatch.setitem(sys.modules, module.__name__, None)
    with pytest.raises(Unsupported, match="install it: pip install"):
        prepare_provider(name, spec_of())


def test_vllms_kernel_reads_the_callers_pages_where_they_lie() -> None:
    extras = replace(DENSE, sequences="kv_lens", page_size=16)
    spec = spec_of(batch=2, kv_heads=2, q_len=1, kv_len=48, extras=extras)
    module = importlib.import_module(GPU_PEERS["vllm_triton"].module)
    q, k, v = tensors(spec)
    kv_lens = torch.tensor([19, 48], dtype=torch.int32)
    tables = torch.tensor([[4, 1, 0], [5, 2, 3]], dtype=torch.int32)
    pages = [torch.full((6, 2, 16, 64), float("nan"), dtype=torch.bfloat16) for _ in range(2)]
    for whole, paged in zip((k, v), pages, strict=True):
        paged[tables.long()] = whole.unflatten(2, (3, 16)).transpose(1, 2)
    out, _ = module.prepare_general(spec)(
        q, *pages, alibi_slopes(8), Sequences(kv_lens=kv_lens, block_tables=tables)
    )
    for entry, length in enumerate(kv_lens.tolist()):
        row = slice(entry, entry + 1)
        keys, values = (part[row, :, :length].double() for part in (k, v))
        exact = attend(
            q[row].double(), keys, values, alibi_slopes(8), scale=spec.scale, causal=True
        )
        assert float((out[row].double() - exact).norm() / exact.norm()) < 4e-3


@pytest.mark.parametrize(
    ("extras", "words"),
    [
        (replace(DENSE, sequences="kv_lens", page_size=24), "a multiple of 16 slots, not 24"),
        (replace(DENSE, sequences="kv_lens"), "without window or padding"),
        (replace(DENSE, sequences="kv_lens", page_size=16, window=(8, 0)), "without window"),
    ],
    ids=["pages of 24", "no pages", "window"],
)
def test_vllms_kernel_takes_pages_alone_beyond_dense_batches(extras: Extras, words: str) -> None:
    module = importlib.import_module(GPU_PEERS["vllm_triton"].module)
    with pytest.raises(Unsupported, match=words):
        module.prepare_general(spec_of(q_len=1, kv_len=48, extras=extras))
