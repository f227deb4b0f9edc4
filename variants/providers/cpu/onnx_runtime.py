"""onnxruntime: one Attention node of ONNX with a dense bias, in ONNX Runtime.

For: seeing what an exported model costs, since no ONNX operator makes ALiBi's bias.
Not for: bfloat16, gradients, long sequences: the bias has heads x q_len x kv_len numbers.

Bias: the caller's slopes times the relative distance, stored dense in the inputs' dtype. One
session serves all lengths. It takes contiguous tensors alone, so a step of decode copies the part
of the cache that it reads. Its threads do not spin after a call, so that they do not disturb the
variants that follow. Source: ONNX operator set 24, ONNX Runtime 1.32.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from variants.problem import Attention, Spec
from variants.providers.dense_bias import dense_bias
from variants.providers.package import Abilities, package

_INSTALL = "pip install onnxruntime onnx"
_ABILITIES = Abilities("ONNX Runtime", dtypes=("float32", "float16"), bidirectional=True)
_INPUTS = ("q", "k", "v", "bias")


@cache
def _session(dtype: torch.dtype, scale: float, threads: int) -> Any:
    """Return a session of one Attention node whose sizes are all open."""
    runtime, onnx = package("onnxruntime", _INSTALL), package("onnx", _INSTALL)
    helper = onnx.helper
    kind = _element_type(dtype)
    values = {
        name: helper.make_tensor_value_info(name, kind, [f"{name}{axis}" for axis in range(4)])
        for name in (*_INPUTS, "out")
    }
    node = helper.make_node("Attention", list(_INPUTS), ["out"], scale=scale)
    inputs = [values[name] for name in _INPUTS]
    graph = helper.make_graph([node], "alibi", inputs, [values["out"]])
    sets = [helper.make_opsetid("", 24)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=11)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _element_type(dtype: torch.dtype) -> int:
    """Return ONNX's number of a dtype."""
    return 1 if dtype == torch.float32 else 10


def prepare(spec: Spec) -> Attention:
    """Return the session's attention; it makes the dense bias when the slopes change."""
    _ABILITIES.decline(spec)
    session, bias = _session(spec.dtype, spec.scale, torch.get_num_threads()), dense_bias(spec)
    kind = _element_type(spec.dtype)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        out = torch.empty(q.shape, dtype=q.dtype)
        binding = session.io_binding()
        inputs = [tensor.contiguous() for tensor in (q, k, v, bias(slopes))]
        for name, tensor in zip(_INPUTS, inputs, strict=True):
            binding.bind_input(name, "cpu", 0, kind, list(tensor.shape), tensor.data_ptr())
        binding.bind_output("out", "cpu", 0, kind, list(out.shape), out.data_ptr())
        session.run_with_iobinding(binding)
        return out

    return attention
