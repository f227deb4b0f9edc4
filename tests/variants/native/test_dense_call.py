"""A step of decode calls again with the structure of its last call where that is still right."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.variants.attacks import HEADS, spec_for
from variants.native import dense_call
from variants.native.kernel_arguments import CAUSAL, structure
from variants.native.kernel_call import attend
from variants.problem import Attention, Spec, alibi_slopes

LENGTH = 200


@pytest.fixture
def structures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Note each structure that is made anew."""
    made: list[Any] = []
    real = structure

    def note(*arguments: Any) -> Any:
        made.append(real(*arguments))
        return made[-1]

    monkeypatch.setattr(dense_call, "structure", note)
    threads = torch.get_num_threads()
    yield made
    torch.set_num_threads(threads)


def draw(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw q of one query, k, v and slopes."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (
        torch.randn(1, HEADS, length, 32, generator=generator) for length in (1, LENGTH, LENGTH)
    )
    return q, k, v, alibi_slopes(HEADS)


def step() -> tuple[Attention, Spec]:
    q, k, *_ = draw(0)
    spec = spec_for(q, k)
    return dense_call.dense_call(spec, CAUSAL), spec


def right(spec: Spec, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    return attend(*inputs, spec.scale, CAUSAL).out


def as_models_have_it(tensor: Tensor) -> Tensor:
    """Return the tensor as a view of [batch, length, heads, head_dim]."""
    return tensor.transpose(1, 2).contiguous().transpose(1, 2)


def test_other_tensors_of_the_same_layout_are_what_the_next_call_reads(
    structures: list[Any],
) -> None:
    attention, spec = step()
    first, second = draw(1), draw(2)
    outs = [attention(*inputs) for inputs in (first, second, first)]
    assert len(structures) == 1
    for out, inputs in zip(outs, (first, second, first), strict=True):
        assert torch.equal(out, right(spec, inputs))


@pytest.mark.parametrize("place", [1, 2], ids=["k", "v"])
def test_a_cache_in_another_layout_is_read_as_it_lies(structures: list[Any], place: int) -> None:
    attention, spec = step()
    plain = draw(1)
    other = tuple(
        as_models_have_it(part) if number == place else part for number, part in enumerate(plain)
    )
    q, k, v, slopes = other
    for inputs in (plain, (q, k, v, slopes), plain):
        assert torch.equal(attention(*inputs), right(spec, inputs))
    assert len(structures) == 3


def test_a_cache_with_room_at_its_end_is_another_layout(structures: list[Any]) -> None:
    attention, spec = step()
    q, k, v, slopes = draw(1)
    roomy = torch.full((1, HEADS, 2 * LENGTH, k.shape[3]), torch.nan)
    roomy[:, :, :LENGTH] = k
    wanted = right(spec, (q, k, v, slopes))
    assert torch.equal(attention(q, k, v, slopes), wanted)
    assert torch.equal(attention(q, roomy[:, :, :LENGTH], v, slopes), wanted)
    assert len(structures) == 2


@pytest.mark.parametrize("place", range(4), ids=["q", "k", "v", "slopes"])
def test_numbers_that_lie_apart_are_copied_together(structures: list[Any], place: int) -> None:
    attention, spec = step()
    plain = draw(1)
    wanted = right(spec, plain)
    apart = [part.repeat_interleave(2, -1)[..., ::2] if number == place else part
             for number, part in enumerate(plain)]  # fmt: skip
    q, k, v, slopes = apart
    for _ in range(2):
        assert torch.equal(attention(*plain), wanted)
        assert torch.equal(attention(q, k, v, slopes), wanted)
    assert len(structures) == 1


def test_a_call_has_as_many_threads_as_torch_has_now(structures: list[Any]) -> None:
    attention, spec = step()
    inputs = draw(1)
    for threads in (1, 2, 2, 1):
        torch.set_num_threads(threads)
        assert torch.equal(attention(*inputs), right(spec, inputs))
    assert [call.threads for call in structures] == [1, 2, 1]


def test_threads_that_call_at_once_with_other_layouts_get_their_own_answers() -> None:
    attention, spec = step()
    plain, other = draw(1), draw(2)
    q, k, v, slopes = other
    calls = [plain, (q, as_models_have_it(k), v, slopes), (q, k, as_models_have_it(v), slopes)]
    wanted = [right(spec, inputs) for inputs in calls]
    with ThreadPoolExecutor(3) as pool:
        outs = pool.map(lambda inputs: [attention(*inputs) for _ in range(200)], calls)
        for out, answer in zip(outs, wanted, strict=True):
            assert all(torch.equal(each, answer) for each in out)
