"""A forced backend is the one that runs, and what torch refuses is declined in torch's words."""

import re
import warnings

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from suite.agreement.inputs import Inputs, draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import Case, Dtype
from suite.lanes import kernel_names
from variants.problem import Spec, Unsupported
from variants.reference import attend
from variants.sdpa import sdpa_mask

CPU = torch.device("cpu")
CUDA = torch.device("cuda")
CASE = Case(heads=8, kv_heads=8, head_dim=64, q_len=128, kv_len=128, dtype="bfloat16")

KINDS = {
    "efficient": "^fmha_",
    "cudnn": "^cudnn_",
    "flash": "^flash_",
    "triton": "^triton_",
    "product": "gemm|nvjet",
    "softmax": "(?i)softmax",
}
"""How the names of device kernels tell one kind from another."""

REFUSED = (
    "Memory efficient kernel not used because: (Triggered internally at sdp_utils.cpp:887.)",
    "Mem Efficient attention requires last dimension of inputs to be divisible by 8. "
    "(Triggered internally at sdp_utils.cpp:150.)",
    "Flash attention kernel not used because: (Triggered internally at sdp_utils.cpp:889.)",
    "Flash attention has been runtime disabled. (Triggered internally at sdp_utils.cpp:550.)",
    "cuDNN attention kernel not used because: (Triggered internally at sdp_utils.cpp:891.)",
    "Expected query, key and value to all be of dtype: {Half, BFloat16}. Got Query dtype: float "
    "instead. (Triggered internally at sdp_utils_cpp.h:91.)",
    "cuDNN attention has been runtime disabled. (Triggered internally at sdp_utils.cpp:620.)",
)
"""What torch's select_sdp_backend warns of on CUDA before it raises."""


def inputs_and_cuda_spec() -> tuple[Inputs, Spec]:
    """Return inputs on the CPU and a spec that says CUDA, so that what is forced can be seen."""
    return draw(CASE, 0, "before", CPU), spec_of(CASE, CUDA)


def call(spec: Spec, backend: str, inputs: Inputs) -> Tensor:
    """Prepare a backend and call it once."""
    attention = sdpa_mask.prepare(spec, backend=backend)
    return attention(inputs.q, inputs.k, inputs.v, inputs.slopes)


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("efficient", "the efficient backend is CUDA's; sdpa_mask runs on the CPU"),
        ("cudnn", "the cuDNN backend is CUDA's; sdpa_mask runs on the CPU"),
        ("math", "the math backend is forced on CUDA only; sdpa_mask runs on the CPU"),
    ],
)
def test_a_forced_backend_declines_a_cpu_and_says_what_runs_there(
    backend: str, reason: str
) -> None:
    with pytest.raises(Unsupported) as declined:
        sdpa_mask.prepare(spec_of(CASE, CPU), backend=backend)
    assert str(declined.value) == reason


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_queries_far_before_the_first_key_lose_nothing_to_a_mask_in_half_precision(
    dtype: Dtype,
) -> None:
    case = replace(CASE, heads=12, kv_heads=12, q_len=300, kv_len=64, dtype=dtype, causal=False)
    inputs, spec = draw(case, 0, "before", CPU), spec_of(case, CPU)
    found = check(sdpa_mask.prepare(spec), spec, inputs, answers="alibi", seed=0)
    assert found.agrees, found


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_no_backend_of_an_unknown_name_is_made(device: torch.device) -> None:
    with pytest.raises(KeyError, match="flash"):
        sdpa_mask.prepare(spec_of(CASE, device), backend="flash")


@pytest.mark.parametrize(
    ("backend", "allowed"),
    [
        ("any", {"flash", "efficient", "cudnn", "math"}),
        ("efficient", {"efficient"}),
        ("cudnn", {"cudnn"}),
        ("math", {"math"}),
    ],
)
def test_each_call_and_nothing_else_is_left_the_one_backend(
    backend: str, allowed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def now_allowed() -> set[str]:
        flags = {"flash": "flash", "efficient": "mem_efficient", "cudnn": "cudnn", "math": "math"}
        return {
            name
            for name, flag in flags.items()
            if getattr(torch.backends.cuda, f"{flag}_sdp_enabled")()
        }

    seen = []

    def note(q: Tensor, *_: Tensor, **__: object) -> Tensor:
        seen.append(now_allowed())
        return q

    monkeypatch.setattr(sdpa_mask, "scaled_dot_product_attention", note)
    inputs, spec = inputs_and_cuda_spec()
    before = now_allowed()
    attention = sdpa_mask.prepare(spec, backend=backend)
    for _ in range(2):
        attention(inputs.q, inputs.k, inputs.v, inputs.slopes)
        assert now_allowed() == before
    assert seen == [allowed, allowed]


def test_a_forced_backend_runs_where_torch_has_it_and_answers_as_torch_s_own_choice_does() -> None:
    inputs, spec = inputs_and_cuda_spec()
    ran = kernel_names.attention_kernels(lambda: call(spec, "math", inputs))
    assert ran == ["scaled_dot_product_attention_math"]
    own, forced = call(spec, "any", inputs).float(), call(spec, "math", inputs).float()
    assert ((forced - own).norm() / own.norm()).item() < 1e-2


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        (
            "efficient",
            "torch's efficient backend refuses: Mem Efficient attention requires last dimension "
            "of inputs to be divisible by 8.",
        ),
        (
            "cudnn",
            "torch's cudnn backend refuses: Expected query, key and value to all be of dtype: "
            "{Half, BFloat16}. Got Query dtype: float instead. "
            "cuDNN attention has been runtime disabled.",
        ),
        ("math", "torch's math backend refuses: it gives no reason"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_torch_refuses_is_declined_with_torch_s_reasons_for_that_backend_alone(
    backend: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Tensor, **__: object) -> Tensor:
        for text in REFUSED:
            warnings.warn(text, stacklevel=1)
        raise RuntimeError("No available kernel. Aborting execution.")

    monkeypatch.setattr(sdpa_mask, "scaled_dot_product_attention", refuse)
    inputs, spec = inputs_and_cuda_spec()
    with pytest.raises(Unsupported) as declined:
        call(spec, backend, inputs)
    assert str(declined.value) == reason


def test_any_other_error_of_torch_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Tensor, **__: object) -> Tensor:
        raise RuntimeError("cuDNN Frontend error: no valid execution plans")

    monkeypatch.setattr(sdpa_mask, "scaled_dot_product_attention", fail)
    inputs, spec = inputs_and_cuda_spec()
    with pytest.raises(RuntimeError, match="no valid execution plans"):
        call(spec, "cudnn", inputs)


def test_torch_words_a_refusal_as_it_is_read_here() -> None:
    q = torch.randn(1, 1, 8, 64)
    mask = torch.zeros(8, 8, requires_grad=True)  # flash gives no gradient of a mask
    with warnings.catch_warnings(record=True) as caught, sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        warnings.simplefilter("always")
        with pytest.raises(RuntimeError, match="No available kernel"):
            scaled_dot_product_attention(q, q, q, attn_mask=mask)
    heading, where, _ = str(caught[0].message).partition(" (Triggered")
    assert heading == "Flash attention kernel not used because:"
    assert where


@pytest.mark.gpu
@pytest.mark.parametrize("length", [128, 1000])
@pytest.mark.parametrize(
    ("backend", "kinds"),
    [("efficient", {"efficient"}), ("cudnn", {"cudnn"}), ("math", {"product", "softmax"})],
)
def test_a_forced_backend_runs_a_kernel_of_its_own_kind_and_agrees_with_the_formula(
    backend: str, kinds: set[str], length: int
) -> None:
    case = replace(CASE, q_len=length, kv_len=length)
    spec, inputs = spec_of(case, CUDA), draw(case, 0, "before", CUDA)
    attention = sdpa_mask.prepare(spec, backend=backend)
    q, k, v, slopes = inputs.q, inputs.k, inputs.v, inputs.slopes
    with torch.no_grad():
        out = attention(q, k, v, slopes)
        ran = kernel_names.attention_kernels(lambda: attention(q, k, v, slopes), CUDA)
    exact = attend(q.double(), k.double(), v.double(), slopes, scale=spec.scale, causal=True)
    assert ((out.double() - exact).norm() / exact.norm()).item() < 1e-2
    found = {kind for kind in KINDS if any(re.search(KINDS[kind], name) for name in ran)}
    assert found == kinds, ran


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_cudnn_declines_float32_in_torch_s_words() -> None:
    case = replace(CASE, dtype="float32")
    with pytest.raises(Unsupported, match=r"cudnn backend refuses: Expected query.* dtype"):
        call(spec_of(case, CUDA), "cudnn", draw(case, 0, "before", CUDA))
