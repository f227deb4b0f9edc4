"""What torch traces or transforms leaves nothing behind: later plain calls answer as ever."""

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from tests.variants.formula import UNCOMPILED, assert_close, tensors, truth
from variants.attention import alibi_attention
from variants.dispatch import answer
from variants.dispatch.call import standard_slopes
from variants.problem import Unsupported

Call = Callable[[Tensor, Tensor, Tensor], Tensor]


class Layer(torch.nn.Module):
    """A layer that exports can take."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the call's answer."""
        return self.call(q, k, v)


def under_fake_tensors(call: Call) -> None:
    with FakeTensorMode():
        call(*tensors())


def with_fake_tensors(call: Call) -> None:
    mode = FakeTensorMode()
    call(*(mode.from_tensor(tensor) for tensor in tensors()))


def under_the_meta_device(call: Call) -> None:
    q, k, v = tensors()
    with torch.device("meta"):
        call(q, k, v)


def under_a_default_device(call: Call) -> None:
    q, k, v = tensors()
    torch.set_default_device("meta")
    try:
        call(q, k, v)
    finally:
        torch.set_default_device(None)


def export(call: Call) -> None:
    torch.export.export(Layer(call), tensors())


def trace_by_fx(call: Call) -> None:
    make_fx(call, tracing_mode="fake")(*tensors())


def trace_by_jit(call: Call) -> None:
    torch.jit.trace(Layer(call), tensors())


def differentiate(call: Call) -> None:
    torch.func.grad(lambda q, k, v: call(q, k, v).sum())(*tensors())


def map_over_batch(call: Call) -> None:
    torch.func.vmap(call)(*(torch.stack([tensor, tensor]) for tensor in tensors()))


def differentiate_forward(call: Call) -> None:
    q, k, v = tensors()
    torch.func.jvp(lambda q: call(q, k, v), (q,), (torch.ones_like(q),))


def under_functional_tensors(call: Call) -> None:
    torch.func.functionalize(call)(*tensors())


WAYS = [
    under_fake_tensors,
    with_fake_tensors,
    under_the_meta_device,
    under_a_default_device,
    export,
    trace_by_fx,
    trace_by_jit,
    differentiate,
    map_over_batch,
    differentiate_forward,
    under_functional_tensors,
]


@pytest.fixture(autouse=True)
def _clear_caches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no earlier call have prepared anything."""
    answer._CACHE.clear()
    standard_slopes.cache_clear()
    yield
    answer._CACHE.clear()
    standard_slopes.cache_clear()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", UNCOMPILED)
def test_a_plain_call_after_a_traced_one_is_answered_as_ever(
    name: str, way: Callable[[Call], None]
) -> None:
    with suppress(Exception):
        way(lambda q, k, v: alibi_attention(q, k, v, variant=name))
    q, k, v = tensors()
    try:
        out = alibi_attention(q, k, v, variant=name)
    except Unsupported:
        return
    assert type(out) is Tensor
    assert_close(out, truth(q, k, v), torch.float32)


def of_jvp(call: Call, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    tangent: Tensor = torch.func.jvp(lambda q: call(q, k, v), (q,), (torch.ones_like(q),))[1]
    return tangent


def of_dual_tensors(call: Call, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(q, torch.ones_like(q))
        tangent = forward_ad.unpack_dual(call(dual, k, v)).tangent
    return torch.zeros_like(q) if tangent is None else tangent


def of_func_grad(call: Call, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    gradient: Tensor = torch.func.grad(lambda q: call(q, k, v).square().sum())(q)
    return gradient


def of_two_backwards(call: Call, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q = q.clone().requires_grad_()
    (first,) = torch.autograd.grad(call(q, k, v).square().sum(), q, create_graph=True)
    return torch.autograd.grad(first.square().sum(), q)[0]


def of_vmap(call: Call, *inputs: Tensor) -> Tensor:
    stacked: Tensor = torch.func.vmap(call)(*(torch.stack([part, -part]) for part in inputs))
    return stacked


def of_jit(call: Call, *inputs: Tensor) -> Tensor:
    traced: Tensor = torch.jit.trace(Layer(call), inputs, check_trace=False)(*inputs)
    return traced


DERIVED = [of_jvp, of_dual_tensors, of_func_grad, of_two_backwards, of_vmap, of_jit]
REFUSALS = (NotImplementedError, RuntimeError, Unsupported)


@pytest.mark.parametrize("name", [name for name in UNCOMPILED if name not in {"eager", "auto"}])
def test_a_forward_mode_derivative_is_refused_in_words_by_all_but_eager(name: str) -> None:
    with pytest.raises(Unsupported, match=f"{name} has no forward-mode derivative; eager has one"):
        of_jvp(lambda q, k, v: alibi_attention(q, k, v, variant=name), *tensors())


def test_auto_takes_eager_for_a_forward_mode_derivative() -> None:
    inputs = tensors()
    found = of_jvp(alibi_attention, *inputs)
    assert_close(found, of_jvp(truth, *(each.double() for each in inputs)), torch.float32)


@pytest.mark.filterwarnings("ignore:There is a performance drop.*aten::")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("derived", DERIVED, ids=lambda derived: derived.__name__)
@pytest.mark.parametrize("name", UNCOMPILED)
def test_what_is_derived_from_a_call_is_right_or_refused(
    name: str, derived: Callable[..., Tensor]
) -> None:
    inputs = tensors()
    try:
        result = derived(lambda q, k, v: alibi_attention(q, k, v, variant=name), *inputs)
    except REFUSALS:
        assert name != "eager"
        return
    wide = [tensor.double() for tensor in inputs]
    assert_close(result, derived(truth, *wide), torch.float32)
