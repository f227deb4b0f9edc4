"""Predict a variant's memory by calling it with fake tensors, which allocate nothing."""

import sys
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec
import psutil
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from suite.agreement.inputs import spec_of
from suite.agreement.oracle import portions
from suite.agreement.preparation import prepare_function
from suite.cases.case import Case
from suite.conditions.policy import INPUT_SETS
from suite.kernels.variant_module import variant_module

INPUT_COPIES = 4
"""The prediction for a call counts the inputs so many times, as a margin."""


class _Ledger(TorchDispatchMode):
    """Counts the bytes of the living storages that operators made, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.level = self.peak = 0
        self._counted: set[int] = set()

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
        if key in self._counted:
            return
        self._counted.add(key)
        self.level += size
        self.peak = max(self.peak, self.level)
        weakref.finalize(storage, self._leave, key, size)

    def _leave(self, key: int, size: int) -> None:
        self._counted.discard(key)
        self.level -= size


def predicted_bytes(
    case: Case, module: str, options: Mapping[str, str | float | bool], device: torch.device
) -> int | None:
    """Return the bytes that inputs and one call or check need, or None if it can't be predicted.

    A cache in pages is predicted as the same cache in one piece, which the oracle reads, and its
    pages beside it, and a copy of them in the call.

    A compiled graph can't be predicted, nor a variant that reads values of its inputs. A variant
    that declines or raises gives None here, and does so again in the real call.
    """
    if case.layout == "paged":
        whole = msgspec.structs.replace(case, layout="bhnd")
        in_one_piece = predicted_bytes(whole, module, options, device)
        return None if in_one_piece is None else in_one_piece + _pages_bytes(case)
    try:
        variant_module(module)  # what a module makes when it is imported must not be fake
        return _call_with_fake_tensors(case, module, options, device)
    except Exception:  # noqa: BLE001 - the real call raises it again, and is recorded
        return None


def _pages_bytes(case: Case) -> int:
    """Return the bytes of the pages of all inputs that a check holds, and of a copy in the call."""
    item = 4 if case.dtype == "float32" else 2
    cache = 2 * case.batch * case.kv_heads * case.kv_len * case.head_dim * item
    return (INPUT_SETS + 2) * cache * 9 // 8  # one page in eight is nobody's


def _call_with_fake_tensors(
    case: Case, module: str, options: Mapping[str, str | float | bool], device: torch.device
) -> int | None:
    spec = spec_of(case, device)
    # Dispatch modes are per thread, and backward on a GPU would otherwise use a second thread.
    one_thread = torch.autograd.set_multithreading_enabled(False)
    with one_thread, FakeTensorMode(), _Ledger() as ledger:
        shape_q = (spec.batch, spec.heads, spec.q_len, spec.head_dim)
        shape_k = (spec.batch, spec.kv_heads, spec.kv_len, spec.head_dim)
        q, k, v = (
            torch.empty(shape, dtype=spec.dtype, device=device, requires_grad=spec.needs_grad)
            for shape in (shape_q, shape_k, shape_k)
        )
        input_bytes = ledger.level
        attention = prepare_function(module, options, case, device)(spec)
        with torch.set_grad_enabled(spec.needs_grad), _without_compiling():
            out = attention(q, k, v, torch.empty(case.heads, device=device))
            if spec.needs_grad:
                torch.autograd.grad(out, (q, k, v), torch.empty_like(out))
        # Each further set of inputs has judged results, which are kept too.
        answer_bytes = out.nbytes + (input_bytes if spec.needs_grad else 0)
        sets_bytes = (INPUT_SETS - 1) * input_bytes + (INPUT_SETS + 1) * answer_bytes
        call_bytes = ledger.peak + (INPUT_COPIES - 1) * input_bytes + sets_bytes
        # A check has timed and new inputs and the answers, but the call's tensors are free again.
        check_bytes = ledger.level + input_bytes + portions.check_bytes(spec) + sets_bytes
        if spec.needs_grad:
            check_bytes += 3 * out.nbytes + input_bytes  # three douts; dq, dk and dv
    return int(max(call_bytes, check_bytes))


def _without_compiling() -> AbstractContextManager[object]:
    """Make torch.compile raise instead of compiling while the block runs.

    A graph that fails to compile with fake tensors would never be compiled again in this process.
    A process that has not imported dynamo, which takes seconds, compiles nothing.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("fail_on_recompile")
    return stance


def available_bytes(device: torch.device) -> int:
    """Return the free bytes of a device: of the GPU, or of the host for a CPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
