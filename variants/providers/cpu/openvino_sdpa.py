"""openvino: OpenVINO's scaled dot product attention with a dense bias.

For: seeing what Intel's runtime takes on the same tensors.
Not for: gradients, long sequences: the bias has heads x q_len x kv_len numbers.

Bias: the caller's slopes times the relative distance, causal mask included, stored dense in the
inputs' dtype. The operator's own `causal` would drop the bias, so it is off. Prefill is compiled
for its lengths, which is faster, and decode for all lengths at once. It takes contiguous tensors
alone, so a step of decode copies the part of the cache that it reads. Source: OpenVINO 2026.4,
opset15.
"""

import sys
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from variants.problem import Attention, Spec
from variants.providers.dense_bias import dense_bias
from variants.providers.package import Abilities, package

_INSTALL = "pip install openvino"
_ABILITIES = Abilities("OpenVINO", bidirectional=True, grouped=False)
_ANY_LENGTH = -1


def _openvino() -> Any:
    """Return OpenVINO, imported without its telemetry.

    With it the import starts a process that reports the import to OpenVINO's makers, unasked and
    beside what is timed. Raises Unsupported where OpenVINO is missing.
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    if "openvino" in modules or "openvino_telemetry" in modules:
        return package("openvino", _INSTALL)
    modules["openvino_telemetry"] = None  # so that its import fails, which OpenVINO allows for
    try:
        return package("openvino", _INSTALL)
    finally:
        del modules["openvino_telemetry"]


@cache
def _request(shapes: tuple[tuple[int, ...], ...], bits: int, scale: float, threads: int) -> Any:
    """Return a request of one attention; of float32 for 32 bits, of bfloat16 for 16."""
    ov, operators = _openvino(), package("openvino.opset15", _INSTALL)
    kind, precision = (ov.Type.f32, "f32") if bits == 32 else (ov.Type.bf16, "bf16")
    inputs = [operators.parameter(list(shape), kind) for shape in shapes]
    factor = operators.constant([scale], kind)
    out = operators.scaled_dot_product_attention(*inputs, factor, causal=False)
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
    }
    model = ov.Model([operators.result(out)], inputs)
    return ov.Core().compile_model(model, "CPU", settings).create_infer_request()


def _share_memory(tensor: Tensor) -> Any:
    """Return OpenVINO's tensor of the same memory; numpy has no bfloat16."""
    ov = _openvino()
    if tensor.dtype == torch.bfloat16:
        bits = tensor.view(torch.uint16).numpy()
        return ov.Tensor(bits, list(tensor.shape), ov.Type.bf16)
    return ov.Tensor(tensor.numpy(), shared_memory=True)


def prepare(spec: Spec) -> Attention:
    """Return OpenVINO's attention; it makes the dense bias when the slopes change."""
    _ABILITIES.decline(spec)
    kv_len = spec.kv_len if spec.q_len > 1 else _ANY_LENGTH
    keys = (spec.batch, spec.heads, kv_len, spec.head_dim)
    shapes = (
        (spec.batch, spec.heads, spec.q_len, spec.head_dim),
        keys,
        keys,
        (1, spec.heads, spec.q_len, kv_len),
    )
    request = _request(shapes, 8 * spec.dtype.itemsize, spec.scale, torch.get_num_threads())
    bias = dense_bias(spec)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        out = torch.empty(q.shape, dtype=q.dtype)
        inputs = [tensor.contiguous() for tensor in (q, k, v, bias(slopes))]
        for place, tensor in enumerate(inputs):
            request.set_input_tensor(place, _share_memory(tensor))
        request.set_output_tensor(0, _share_memory(out))
        request.infer()
        return out

    return attention
