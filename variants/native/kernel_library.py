"""The library of the C++ kernels, and the structure that they are called with."""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from variants.compiled.cpp_build import build_library, cpp_compiler
from variants.compiled.flags import FLAGS
from variants.compiled.shipped import shipped_library
from variants.problem import Unsupported

BLOCK = 64  # queries or keys in a block
FEW_QUERIES = 16  # or fewer of a sequence are computed key by key; more fill a block
CHUNK = 32  # keys and head_dim are padded to multiples of this
MOST_HEAD_DIM = 256
SEQUENCE_FIELDS = ("batch", "first_query", "queries", "first_key", "keys", "position")
_SOURCE = Path(__file__).parent / "kernel" / "native_window.cpp"


class CallStructure(ctypes.Structure):
    """The struct `Call` of call.h.

    The pointers are of q, k, v, slopes, out, the log-sum-exp, packed keys and values, sequences,
    norms and pages; the strides, in elements, of batch, head and row of q, k, v, out and norms.
    """

    _fields_ = [
        ("pointers", ctypes.c_uint64 * 10),
        ("strides", ctypes.c_int64 * 15),
        *((name, ctypes.c_int64) for name in ("heads", "kv_heads", "q_len", "head_dim")),
        *((name, ctypes.c_int64) for name in ("value_dim", "sequence_count")),
        *((name, ctypes.c_int64) for name in ("threads", "packed_blocks", "slopes_batch_stride")),
        *((name, ctypes.c_int64) for name in ("pages_stride", "page_bits")),
        *((name, ctypes.c_int64) for name in ("before", "after", "looked_at")),
        *((name, ctypes.c_float) for name in ("scale", "least")),
    ]


class BackwardStructure(ctypes.Structure):
    """The struct `BackwardCall` of gradients.h.

    `pointers` are of the gradients of q, k, v and the slopes; the strides are d_out's.
    """

    _fields_ = [
        ("call", CallStructure),
        *((name, ctypes.c_uint64) for name in ("d_out", "d_log_sum_exp")),
        ("pointers", ctypes.c_uint64 * 4),
        ("d_out_strides", ctypes.c_int64 * 3),
        ("kv_len", ctypes.c_int64),
    ]


def load(flags: Sequence[str] = FLAGS) -> ctypes.CDLL:
    """Return the kernels, built with `flags`.

    Raises Unsupported where they can't be built, RuntimeError where the layouts of C++ and Python
    differ.
    """
    kernels = build_library(_SOURCE, flags)
    _check(kernels)
    return kernels


def _check(kernels: ctypes.CDLL) -> None:
    """Tell the kernels' functions their types. Raises RuntimeError for another layout."""
    kernels.packed_width.restype = ctypes.c_int64
    kernels.packed_width.argtypes = [ctypes.c_int64, ctypes.c_int64]
    kernels.layout.restype = ctypes.c_int64
    layout = [kernels.layout(which) for which in range(7)]
    structures = (CallStructure, BackwardStructure)
    sizes = [*map(ctypes.sizeof, structures), 8 * len(SEQUENCE_FIELDS)]
    if layout != [*sizes, BLOCK, BLOCK, CHUNK, MOST_HEAD_DIM]:
        raise RuntimeError(
            f"{_SOURCE.name} and {Path(__file__).name} differ in their layout: {layout}"
        )


@cache
def _load_shipped() -> ctypes.CDLL | None:
    return shipped_library(_SOURCE, _check)


def check_obtainable() -> None:
    """Raise Unsupported where no kernels came with the wheel and no compiler can build them."""
    if not _has_loaded() and _load_shipped() is None:
        cpp_compiler("native_window")


def library() -> ctypes.CDLL:
    """Return the kernels: those that came with the wheel, else built at the first call.

    Raises Unsupported where they can't be built.
    """
    outcome = _outcome()
    if isinstance(outcome, str):
        raise Unsupported(outcome)  # a stored exception would hold every call's tensors
    return outcome


def _has_loaded() -> bool:
    return _outcome.cache_info().currsize > 0 and not isinstance(_outcome(), str)


@cache
def _outcome() -> ctypes.CDLL | str:
    """Return the kernels, or the reason why they can't be built: no later call builds again."""
    try:
        return _load_shipped() or load()
    except Unsupported as reason:
        return str(reason)
