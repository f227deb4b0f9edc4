"""What a variant would allocate, found by calling it with tensors that have no memory."""

import importlib
import sys
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psutil
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from suite.agreement import oracle
from suite.agreement.inputs import spec_of
from suite.cases.case import Case

INPUT_COPIES = 4


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of living storages that operators make, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.level = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._enter(leaf.untyped_storage())
        return result

    def _enter(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.level += size
        self.peak = max(self.peak, self.level)
        weakref.finalize(storage, self._leave, key, size)

    def _leave(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.level -= size


def predicted_bytes(
    case: Case, module: str, options: Mapping[str, str], device: torch.device
) -> int | None:
    """Return what inputs and one call or check would take, or None where only a call can tell.

    A compiled graph can't be told beforehand, nor can a variant that looks at its data. One that
    declines or raises is left to do so in earnest.
    """
    try:
        return _called_without_memory(case, module, options, device)
    except Exception:  # noqa: BLE001 - whatever goes wrong here will tell itself in the real call
        return None


def _called_without_memory(
    case: Case, module: str, options: Mapping[str, str], device: torch.device
) -> int | None:
    spec = spec_of(case, device)
    # Modes belong to a thread, and backward on a GPU has one of its own unless it may not.
    one_thread = torch.autograd.set_multithreading_enabled(False)
    with one_thread, FakeTensorMode(), _Ledger() as ledger:
        shape_q = (spec.batch, spec.heads, spec.q_len, spec.head_dim)
        shape_k = (spec.batch, spec.kv_heads, spec.kv_len, spec.head_dim)
        q, k, v = (
            torch.empty(shape, dtype=spec.dtype, device=device, requires_grad=spec.needs_grad)
            for shape in (shape_q, shape_k, shape_k)
        )
        inputs = ledger.level
        attention = importlib.import_module(module).prepare(spec, **options)
        with torch.set_grad_enabled(spec.needs_grad), _without_compiling():
            out = attention(q, k, v, torch.empty(case.heads, device=device))
            if spec.needs_grad:
                torch.autograd.grad(out, (q, k, v), torch.empty_like(out))
        called = ledger.peak + (INPUT_COPIES - 1) * inputs
        # A check has timed and fresh inputs beside its answers, but no longer the call.
        checked = ledger.level + inputs + oracle.held_bytes(spec)
        if spec.needs_grad:
            checked += 2 * out.nbytes + inputs  # two douts; dq, dk and dv
    return int(max(called, checked))


def _without_compiling() -> AbstractContextManager[object]:
    """Have a graph that would be compiled raise: tried without memory, torch gives it up for good.

    Nothing is compiled in a process without dynamo, whose import takes seconds.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("fail_on_recompile")
    return stance


def available_bytes(device: torch.device) -> int:
    """Return the memory that a device can still give."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
