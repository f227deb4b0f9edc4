"""alibi_attention inside of torch.compile, exports and counts: one operator, right or refused."""

import copy
import pickle
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.utils.flop_counter import FlopCounterMode

from tests.effort import the_first
from tests.variants.batches.oracle import answer
from tests.variants.formula import UNCOMPILED, assert_close, tensors, truth
from variants.attention import alibi_attention
from variants.dispatch.operator import attention, attention_backward
from variants.problem import Unsupported, alibi_slopes

TRAIN = ["eager", "sdpa_mask", "native_window", "sdpa_key", "sdpa_folded", "sdpa_window", "auto"]
PADDING = torch.arange(48)[None] < torch.tensor([[13], [0]])


class Layer(torch.nn.Module):
    """A layer of a model, with learned queries."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(1.5))
        self.arguments = arguments

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return attention with scaled queries, and something after it."""
        out: Tensor = alibi_attention(self.gain * q, k, v, **self.arguments)
        return out + 1


def compile_layer(layer: Layer, *, dynamic: bool = False) -> Callable[..., Tensor]:
    torch._dynamo.reset()
    return torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=dynamic)


@pytest.mark.parametrize("name", UNCOMPILED)
def test_a_whole_graph_holds_every_variant_and_its_answer_is_right(name: str) -> None:
    q, k, v = tensors()
    with torch.no_grad():
        out = compile_layer(Layer(variant=name))(q, k, v)
    assert_close(out, truth(1.5 * q, k, v) + 1, torch.float32)


@pytest.mark.parametrize("name", the_first(3, TRAIN))
def test_a_compiled_layer_trains(name: str) -> None:
    q, k, v = tensors(head_dim=64)
    plain, traced = Layer(variant="eager"), Layer(variant=name)
    gradients = []
    for layer, call in ((plain, plain), (traced, compile_layer(traced))):
        leaves = [tensor.clone().requires_grad_() for tensor in (q, k, v)]
        loss = call(*leaves).square().sum()
        gradients.append(torch.autograd.grad(loss, [layer.gain, *leaves]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-3)


def test_slopes_learn_inside_of_a_graph() -> None:
    q, k, v = tensors()
    gradients = []
    for wrap in (lambda call: call, lambda call: torch.compile(call, backend="aot_eager")):
        slopes = alibi_slopes(4).requires_grad_()
        wrap(lambda given: alibi_attention(q, k, v, slopes=given, variant="eager"))(
            slopes
        ).square().sum().backward()
        gradients.append(slopes.grad)
    torch.testing.assert_close(gradients[1], gradients[0])


def test_all_lengths_share_one_graph_where_lengths_are_dynamic() -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    call = torch.compile(Layer(), backend=counter, fullgraph=True, dynamic=True)
    for length in (33, 48, 90):
        q, k, v = tensors(q_len=length, kv_len=length)
        assert_close(call(q, k, v), truth(1.5 * q, k, v) + 1, torch.float32)
    assert counter.frame_count == 1


BATCHES: dict[str, dict[str, Any]] = {
    "padding": {"key_padding": PADDING},
    "cache": {"kv_lens": torch.tensor([17, 48])},
    "window": {"window": (9, 4), "causal": False},
    "offset": {"q_offset": -3},
}


@pytest.mark.parametrize("batch", the_first(1, list(BATCHES)))
def test_a_graph_takes_batches_of_any_form(batch: str) -> None:
    q, k, v = tensors()
    wanted = answer(1.5 * q, k, v, alibi_slopes(4), **BATCHES[batch]).out
    for name in ("eager", "sdpa_mask", "native_window", "auto"):
        with torch.no_grad():
            out = compile_layer(Layer(variant=name, **BATCHES[batch]))(q, k, v)
        torch.testing.assert_close(out.double(), wanted + 1, rtol=1e-4, atol=1e-4)


def test_a_graph_takes_packed_sequences_with_more_keys_than_queries() -> None:
    packed = {
        "cu_seqlens": torch.tensor([0, 1, 19, 20]),
        "cu_seqlens_k": torch.tensor([0, 12, 30, 48]),
    }
    inputs = tensors(batch=1, q_len=20)
    plain, traced = Layer(variant="eager", **packed), Layer(variant="auto", **packed)
    gradients = []
    for call in (plain, compile_layer(traced)):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        gradients.append(torch.autograd.grad(call(*leaves).square().sum(), leaves))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


def test_a_graph_gives_the_log_sum_exp_and_its_gradient() -> None:
    q, k, v = tensors()

    def total(q: Tensor) -> Tensor:
        out, log_sum_exp = alibi_attention(q, k, v, variant="eager", return_lse=True)
        return out.sum() + log_sum_exp.square().sum()

    gradients = []
    for call in (total, torch.compile(total, backend="aot_eager", fullgraph=True)):
        leaf = q.clone().requires_grad_()
        call(leaf).backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[1], gradients[0])


def test_autocast_holds_inside_of_a_graph() -> None:
    q, k, v = tensors()
    call = torch.compile(alibi_attention, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = call(q, k, v, variant="sdpa_mask")
        assert torch.equal(out, alibi_attention(q, k, v, variant="sdpa_mask"))
    assert out.dtype == torch.bfloat16


def test_a_graph_refuses_in_words_what_it_can_not_do() -> None:
    q, k, v = tensors()
    with pytest.raises(Exception, match=r"not under torch\.compile"):
        compile_layer(Layer(dropout_p=0.1))(q, k, v)
    with pytest.raises(Exception, match="does not support backward on CPU"):
        compile_layer(Layer(variant="flex"))(q, k, v)
    with pytest.raises(Exception, match="batch or head_dim differ"):
        compile_layer(Layer())(q, k[:1], v[:1])
    with pytest.raises(Exception, match="there are eager, sdpa_mask"):
        compile_layer(Layer(variant="flx"))(q, k, v)


def test_a_gradient_of_gradients_is_refused_with_the_variant_that_has_it() -> None:
    q, k, v = tensors()
    arguments = (k, v, alibi_slopes(4), *[None] * 6, "eager", True, None, None, None, False)
    leaf = q.requires_grad_()
    out, _ = cast(Any, attention)(leaf, *arguments)
    (first,) = torch.autograd.grad(out.square().sum(), leaf, create_graph=True)
    with pytest.raises(Unsupported, match="call it uncompiled, where eager has one"):
        first.square().sum().backward()


@pytest.mark.parametrize("name", UNCOMPILED)
@pytest.mark.parametrize("needs_grad", [False, True])
def test_the_operator_is_what_torch_asks_of_one(name: str, needs_grad: bool) -> None:
    if needs_grad and name not in TRAIN:
        pytest.skip("has no backward on a CPU")
    q, k, v = (tensor.requires_grad_(needs_grad) for tensor in tensors(head_dim=64))
    arguments = (q, k, v, alibi_slopes(4), *[None] * 6, name, True, None, None, None, False)
    checks = ("test_schema", "test_faketensor")
    if needs_grad:
        checks = ("test_autograd_registration", "test_aot_dispatch_dynamic")
    torch.library.opcheck(cast(Any, attention), arguments, test_utils=checks)


def test_the_backward_is_what_torch_asks_of_an_operator() -> None:
    q, k, v = tensors()
    options = (*[None] * 6, "sdpa_mask", True, None, None, None)
    arguments = (torch.ones_like(q), None, q, k, v, alibi_slopes(4), *options, True)
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(cast(Any, attention_backward), arguments, test_utils=checks)


def test_an_exported_layer_answers_at_other_lengths() -> None:
    length = torch.export.Dim("length", min=2, max=4096)
    inputs = tensors(q_len=40, kv_len=40)
    shapes = tuple({2: length} for _ in inputs)
    program = torch.export.export(Layer(), inputs, dynamic_shapes=(*shapes,))
    q, k, v = tensors(q_len=77, kv_len=77)
    assert_close(program.module()(q, k, v), truth(1.5 * q, k, v) + 1, torch.float32)


@pytest.mark.parametrize("window", [None, (12, 0)])
def test_vmap_of_the_operator_is_a_call_for_each_entry(window: tuple[int, int] | None) -> None:
    q, k, v = tensors()
    rest = (k, v, alibi_slopes(4), *[None] * 6, "sdpa_mask", True, None, None, window, True)
    stacked, _ = torch.func.vmap(lambda q: cast(Any, attention)(q, *rest))(torch.stack([q, -q]))
    assert_close(stacked[1], answer(-q, k, v, alibi_slopes(4), window=window).out, torch.float32)


@pytest.mark.parametrize("name", ["eager", "sdpa_mask", "native_window"])
def test_operations_are_counted_as_torch_counts_its_own_attention(name: str) -> None:
    q, k, v = tensors()
    with torch.no_grad(), FlopCounterMode(display=False) as plain:
        alibi_attention(q, k, v, variant=name)
    arguments = (alibi_slopes(4), *[None] * 6, name, True, None, None, None, False)
    with FlopCounterMode(display=False) as traced:
        cast(Any, attention)(q, k, v, *arguments)
    pairs = 2 * 4 * 48 * 48
    assert plain.get_total_flops() == traced.get_total_flops() == pairs * 2 * (32 + 32)


def test_a_layer_is_copied_and_pickled_after_use() -> None:
    q, k, v = tensors()
    layer = Layer()
    out = layer(q, k, v)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(q, k, v), out)
