"""ggml's flash attention through its C interface: the library, and one attention as a graph."""

import ctypes
import weakref
from ctypes import POINTER, Structure, byref, c_bool, c_char, c_float, c_int, c_int64, c_size_t
from ctypes import c_void_p as pointer
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from variants.problem import Unsupported
from variants.providers.package import folder_of

INSTALL = "pip install libggml-python==0.20.2"
KINDS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 30}
_CONTEXT_BYTES = 1 << 20


class _InitParams(Structure):
    _fields_ = (("mem_size", c_size_t), ("mem_buffer", pointer), ("no_alloc", c_bool))


class _GgmlTensor(Structure):
    _fields_ = (
        ("type", c_int),
        ("buffer", pointer),
        ("ne", c_int64 * 4),
        ("nb", c_size_t * 4),
        ("op", c_int),
        ("op_params", c_int * 16),
        ("flags", c_int),
        ("src", pointer * 10),
        ("view_src", pointer),
        ("view_offs", c_size_t),
        ("data", pointer),
        ("name", c_char * 64),
        ("extra", pointer),
    )


class _GgmlPlan(Structure):
    _fields_ = (
        ("work_size", c_size_t),
        ("work_data", pointer),
        ("n_threads", c_int),
        ("threadpool", pointer),
        ("abort_callback", pointer),
        ("abort_callback_data", pointer),
        ("use_ref", c_bool),
    )


class _Library(NamedTuple):
    base: ctypes.CDLL
    cpu: ctypes.CDLL


@cache
def library() -> _Library:
    """Return ggml's libraries with their signatures set. Raises Unsupported without them."""
    folder = folder_of("libggml", INSTALL) / "lib64"
    try:
        base = ctypes.CDLL(str(folder / "libggml-base.so.0"), ctypes.RTLD_GLOBAL)
        cpu = ctypes.CDLL(str(folder / "libggml-cpu.so.0"))
    except OSError as error:
        raise Unsupported(f"libggml: {error}; install it: {INSTALL}") from None
    tensor = POINTER(_GgmlTensor)
    base.ggml_init.restype, base.ggml_init.argtypes = pointer, [_InitParams]
    base.ggml_free.argtypes = [pointer]
    base.ggml_new_tensor.restype = tensor
    base.ggml_new_tensor.argtypes = [pointer, c_int, c_int, POINTER(c_int64)]
    base.ggml_flash_attn_ext.restype = tensor
    base.ggml_flash_attn_ext.argtypes = [pointer, *[tensor] * 4, *[c_float] * 3]
    base.ggml_get_data.restype, base.ggml_get_data.argtypes = pointer, [tensor]
    base.ggml_new_graph.restype, base.ggml_new_graph.argtypes = pointer, [pointer]
    base.ggml_build_forward_expand.argtypes = [pointer, tensor]
    cpu.ggml_graph_plan.restype, cpu.ggml_graph_plan.argtypes = _GgmlPlan, [pointer, c_int, pointer]
    cpu.ggml_graph_compute.argtypes = [pointer, POINTER(_GgmlPlan)]
    cpu.ggml_cpu_init()
    return _Library(base, cpu)


class GgmlAttention:
    """A graph of one flash attention, whose tensors are pointed at torch's memory in each call."""

    def __init__(self, q: Tensor, k: Tensor, mask: Tensor, scale: float, max_bias: float) -> None:
        """Build the graph for tensors like these.

        q [batch, heads, q_len, head_dim] float32, k and v [batch, kv_heads, kv_len, head_dim],
        mask [q_len, kv_len] float16.
        """
        ggml = library()
        context = ggml.base.ggml_init(_InitParams(_CONTEXT_BYTES, None, True))
        weakref.finalize(self, ggml.base.ggml_free, context)

        def like(tensor: Tensor) -> "ctypes._Pointer[_GgmlTensor]":
            sizes = (c_int64 * 4)(*reversed(tensor.shape), *[1] * (4 - tensor.dim()))
            return ggml.base.ggml_new_tensor(context, KINDS[tensor.dtype], 4, sizes)  # type: ignore[no-any-return]

        self._inputs = [like(tensor) for tensor in (q, k, k, mask)]
        self._out = ggml.base.ggml_flash_attn_ext(context, *self._inputs, scale, max_bias, 0.0)
        self._out.contents.data = _CONTEXT_BYTES
        if ggml.base.ggml_get_data(self._out) != _CONTEXT_BYTES:
            raise Unsupported(f"this ggml lays its tensors out otherwise; install it: {INSTALL}")
        self._graph = ggml.base.ggml_new_graph(context)
        ggml.base.ggml_build_forward_expand(self._graph, self._out)
        self._plan = ggml.cpu.ggml_graph_plan(self._graph, torch.get_num_threads(), None)
        self._work = torch.empty(self._plan.work_size + 64, dtype=torch.uint8)
        self._plan.work_data = self._work.data_ptr()
        self._mask = mask
        self._compute = ggml.cpu.ggml_graph_compute

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return attention as [batch, heads, q_len, head_dim] float32; a view of its layout."""
        batch, heads, q_len, head_dim = q.shape
        out = torch.empty(batch, q_len, heads, head_dim)
        for place, tensor in zip(self._inputs, (q, k, v, self._mask), strict=True):
            _point(place, tensor)
        _point(self._out, out)
        self._compute(self._graph, byref(self._plan))
        return out.transpose(1, 2)


def _point(place: "ctypes._Pointer[_GgmlTensor]", tensor: Tensor) -> None:
    """Let a tensor of a graph read or write a torch tensor of its shape, where that lies."""
    record = place.contents
    record.data = tensor.data_ptr()
    strides = [stride * tensor.itemsize for stride in reversed(tensor.stride())]
    for axis, stride in enumerate(strides):
        record.nb[axis] = stride
