"""A step of decode calls again with the structure of its last call where that is still right."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.variants.attacks import HEADS, spec_for
from variants.batches.cache_norms import cache_norms
from variants.batches.sequences import Sequences
from variants.native import plain_calls
from variants.native.kernel_arguments import CAUSAL, structure
from variants.native.kernel_call import attend, few_queries_kernel
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

    monkeypatch.setattr(plain_calls, "structure", note)
    threads = torch.get_num_threads()
    yield made
    torch.set_num_threads(threads)


def draw(seed: int, kv_len: int = LENGTH) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw q of one query, k, v and slopes."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (
        torch.randn(1, HEADS, length, 32, generator=generator) for length in (1, kv_len, kv_len)
    )
    return q, k, v, alibi_slopes(HEADS)


def step() -> tuple[Attention, Spec]:
    q, k, *_ = draw(0)
    spec = spec_for(q, k)
    return plain_calls.dense_call(spec, CAUSAL), spec


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


def with_norms(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Sequences]:
    return (*inputs, Sequences(norms=cache_norms(inputs[1], inputs[2])))


def test_a_step_with_norms_reads_those_of_its_own_call(
    structures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []

    def noting(dtype: torch.dtype) -> Callable[[Any], None]:
        def call(reference: Any) -> None:
            few_queries_kernel(dtype)(reference)
            looked_at.append(reference._obj.looked_at)

        return call

    monkeypatch.setattr(plain_calls, "few_queries_kernel", noting)
    small, large = draw(1, 2000), draw(2, 2000)
    large[1].mul_(8)
    spec = spec_for(*small[:2])
    attention = plain_calls.general_call(spec, CAUSAL)
    for inputs in (large, small, large):
        out, log_sum_exp = attention(*with_norms(inputs))
        wanted = attend(*inputs, spec.scale, CAUSAL, norms=with_norms(inputs)[-1].norms)
        assert torch.equal(out, wanted.out)
        assert looked_at.pop() == wanted.looked_at < 2000 * HEADS
        assert (log_sum_exp.numel(), log_sum_exp.dtype) == (0, torch.float32)
    assert len(structures) == 1


def test_norms_of_another_cache_are_refused() -> None:
    spec = step()[1]
    q, k, v, slopes = draw(1)
    short = Sequences(norms=cache_norms(k[:, :, :64], v[:, :, :64]))
    with pytest.raises(ValueError, match=r"norms are .* give float32 \[1, .*, 2, 4 or more\]"):
        plain_calls.general_call(spec, CAUSAL)(q, k, v, slopes, short)


def test_norms_with_room_for_more_keys_are_another_layout(structures: list[Any]) -> None:
    spec = step()[1]
    attention = plain_calls.general_call(spec, CAUSAL)
    q, k, v, slopes = draw(1)
    norms = cache_norms(k, v)
    roomy = torch.cat([norms, torch.zeros_like(norms)], dim=3)
    outs = [attention(q, k, v, slopes, Sequences(norms=each))[0] for each in (norms, roomy)]
    assert torch.equal(*outs)
    assert len(structures) == 2


def test_tensors_that_misfit_are_refused_beside_norms() -> None:
    spec = step()[1]
    q, k, v, slopes = draw(1)
    norms = Sequences(norms=cache_norms(k, v))
    with pytest.raises(ValueError, match="head"):
        plain_calls.general_call(spec, CAUSAL)(q[..., :16], k, v, slopes, norms)


def test_a_step_over_a_static_cache_reads_as_many_keys_as_each_call_says(
    structures: list[Any],
) -> None:
    q, k, v, slopes = (torch.cat([one, other]) for one, other in zip(draw(1), draw(2), strict=True))
    slopes = slopes[:HEADS]
    spec = spec_for(q, k)
    attention = plain_calls.general_call(spec, CAUSAL)
    for lengths in ([150, 3], [7, 199], [0, 200]):
        filled_k, filled_v, filled = k.clone(), v.clone(), Sequences(kv_lens=torch.tensor(lengths))
        for entry, length in enumerate(lengths):
            filled_k[entry, :, length:] = filled_v[entry, :, length:] = torch.nan
        out, _ = attention(q, filled_k, filled_v, slopes, filled)
        apart = filled_k.repeat_interleave(2, -1)[..., ::2]
        assert torch.equal(attention(q, apart, filled_v, slopes, filled)[0], out)
        for entry, length in enumerate(lengths):
            row, keys, values = (part[entry : entry + 1] for part in (q, k, v))
            alone = (row, keys[:, :, :length], values[:, :, :length], slopes)
            wanted = right(spec, alone) if length else torch.zeros(1)
            assert torch.equal(out[entry : entry + 1], wanted.expand_as(row))
    assert len(structures) == 1


@pytest.mark.parametrize("lengths", [[LENGTH + 1], [-1]])
def test_more_keys_than_there_is_room_for_are_refused(lengths: list[int]) -> None:
    spec = step()[1]
    filled = Sequences(kv_lens=torch.tensor(lengths))
    with pytest.raises(ValueError, match=f"it ends past {LENGTH}"):
        plain_calls.general_call(spec, CAUSAL)(*draw(1), filled)


def test_packed_steps_are_attended_to_alone() -> None:
    q, k, v, slopes = draw(1, 3)
    q = k.flip(2).contiguous()
    attention = plain_calls.general_call(spec_for(q, k), CAUSAL)
    out, _ = attention(q, k, v, slopes, Sequences(cu_seqlens=torch.tensor([0, 1, 3])))
    for rows in (slice(0, 1), slice(1, 3)):
        q_rows, k_rows, v_rows = (part[:, :, rows] for part in (q, k, v))
        wanted = right(spec_for(q_rows, k_rows), (q_rows, k_rows, v_rows, slopes))
        assert torch.equal(out[:, :, rows], wanted)


def test_queries_that_are_padding_are_0(new_memory_is_nan: None) -> None:
    q, k, v, slopes = draw(1, 4)
    q, padding = k.flip(2).contiguous(), torch.tensor([[True, True, False, False]])
    attention = plain_calls.general_call(spec_for(q, k), CAUSAL)
    out, _ = attention(q, k, v, slopes, Sequences(key_padding=padding))
    assert not out[:, :, :2].any()
    q, k, v = (part[:, :, 2:] for part in (q, k, v))
    assert torch.equal(out[:, :, 2:], right(spec_for(q, k), (q, k, v, slopes)))


@pytest.mark.parametrize("q_len", [8, 32], ids=["a step", "a block"])
def test_queries_that_overlap_in_memory_get_an_answer_of_rows(q_len: int) -> None:
    k = torch.randn(2, HEADS, 64, 32)
    q = torch.randn(2, HEADS, q_len + 31).unfold(2, 32, 1)
    spec, slopes = spec_for(q, k), alibi_slopes(HEADS)
    out = plain_calls.dense_call(spec, CAUSAL)(q, k, k, slopes)
    assert out.stride(-1) == 1
    assert torch.equal(out, right(spec, (q.contiguous(), k, k, slopes)))
