"""Up to 16 queries are computed key by key, in parts: right for any shape, whoever takes a part."""

import math
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.effort import examples
from tests.variants.formula import TOLERANCE
from variants.batches.cache_norms import cache_norms
from variants.native import kernel_call
from variants.native.kernel_arguments import BIDIRECTIONAL, CAUSAL, Reach, rows_of
from variants.native.kernel_call import KernelResult, attend
from variants.native.kernel_library import FEW_QUERIES
from variants.problem import alibi_slopes

SHAPES: dict[str, dict[str, Any]] = {
    "a step": {"kv_len": 1000},
    "some tokens at once": {"q_len": 4, "kv_len": 777, "batch": 2, "kv_heads": 2},
    "odd sizes": {
        "heads": 3,
        "kv_heads": 3,
        "q_len": 7,
        "kv_len": 2049,
        "dim": 17,
        "value_dim": 33,
    },
    "more rows than go together": {"heads": 71, "kv_heads": 1, "q_len": 2, "kv_len": 300},
    "the widest": {"kv_len": 130, "dim": 256, "value_dim": 256},
    "bidirectional": {"q_len": 16, "kv_len": 500, "reach": BIDIRECTIONAL},
    "a window": {"q_len": 5, "kv_len": 900, "reach": Reach(100, 0)},
    "as many queries as keys": {"q_len": 16, "kv_len": 16},
    "one key": {"kv_len": 1},
}


def draw_qkv(
    *,
    heads: int = 8,
    kv_heads: int = 8,
    q_len: int = 1,
    kv_len: int = 1000,
    dim: int = 64,
    value_dim: int = 64,
    batch: int = 1,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw q, k and v."""
    generator = torch.Generator().manual_seed(kv_len)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    k = normal(batch, kv_heads, kv_len, dim)
    return normal(batch, heads, q_len, dim), k, normal(batch, kv_heads, kv_len, value_dim)


def call_kernel(
    q: Tensor, k: Tensor, v: Tensor, reach: Reach = CAUSAL, **options: Any
) -> KernelResult:
    slopes, scale = alibi_slopes(q.shape[1]), q.shape[3] ** -0.5
    return attend(q, k, v, slopes, scale, reach, wants_log_sum_exp=True, **options)


def truth(q: Tensor, k: Tensor, v: Tensor, reach: Reach = CAUSAL) -> tuple[Tensor, Tensor]:
    """Return the output and the log-sum-exp in float64."""
    group = q.shape[1] // k.shape[1]
    k, v = (tensor.double().repeat_interleave(group, dim=1) for tensor in (k, v))
    q_len, kv_len = q.shape[2], k.shape[2]
    away = torch.arange(kv_len) - (torch.arange(q_len)[:, None] + kv_len - q_len)
    scores = q.double() @ k.mT * q.shape[3] ** -0.5
    scores -= alibi_slopes(q.shape[1]).double()[:, None, None] * away.abs()
    scores = scores.masked_fill((away > reach.after) | (-away > reach.before), -math.inf)
    return scores.softmax(-1) @ v, scores.logsumexp(-1)


def assert_right(found: KernelResult, wanted: tuple[Tensor, Tensor], dtype: torch.dtype) -> None:
    error = TOLERANCE[dtype]
    torch.testing.assert_close(found.out.double(), wanted[0], rtol=error, atol=error)
    torch.testing.assert_close(found.log_sum_exp.double(), wanted[1], rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("some_threads")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("has_norms", [False, True], ids=["plain", "norms"])
def test_every_shape_is_answered_rightly(
    shape: str, dtype: torch.dtype, *, has_norms: bool
) -> None:
    sizes = dict(SHAPES[shape])
    reach = sizes.pop("reach", CAUSAL)
    q, k, v = draw_qkv(**sizes, dtype=dtype)
    found = call_kernel(q, k, v, reach, norms=cache_norms(k, v) if has_norms else None)
    assert_right(found, truth(q, k, v, reach), dtype)


@pytest.mark.usefixtures("some_threads")
def test_a_far_key_that_wins_is_found_in_whichever_part_it_lies() -> None:
    q, k, v = draw_qkv(kv_len=3000)
    for place in (0, 255, 256, 1500, 2999):
        k[:, :, place] = 40 * q[:, :, 0] / q[:, :, 0].norm(dim=-1, keepdim=True)
        assert_right(call_kernel(q, k, v), truth(q, k, v), q.dtype)


def test_scores_near_the_end_of_float32_do_not_overflow() -> None:
    q, k, v = draw_qkv(kv_len=900)
    k *= 1e3
    assert_right(call_kernel(q, k, v), truth(q, k, v), q.dtype)


def test_models_layout_is_read_in_place() -> None:
    q, k, v = draw_qkv(q_len=3, kv_len=400)

    def with_strides(tensor: Tensor) -> Tensor:
        return tensor.transpose(1, 2).contiguous().transpose(1, 2)

    found = call_kernel(with_strides(q), with_strides(k), with_strides(v))
    assert found.out.transpose(1, 2).is_contiguous()
    assert_right(found, truth(q, k, v), q.dtype)


@pytest.mark.usefixtures("some_threads")
def test_heads_whose_scores_differ_by_hundreds_keep_to_their_own() -> None:
    q, k, v = draw_qkv(kv_len=3000)
    q *= torch.tensor([100.0, 1, 0.01, 30, 1, 1, 70, 0])[:, None, None]
    assert_right(call_kernel(q, k, v), truth(q, k, v), q.dtype)


@pytest.mark.usefixtures("some_threads")
def test_values_of_weights_that_are_0_are_not_read() -> None:
    q, k, v = draw_qkv(kv_len=2000)
    wanted = call_kernel(q, k, v).out
    v[:, :, :1000] = math.nan
    steep = slice(3)  # heads whose bias is under -100 there
    assert torch.equal(call_kernel(q, k, v).out[:, steep], wanted[:, steep])
    v[:, :, 1990] = math.nan
    assert call_kernel(q, k, v).out.isnan().all()


def test_sequences_see_their_own_keys_alone_and_none_is_0() -> None:
    q, k, v = draw_qkv(q_len=2, kv_len=600)
    sequences = torch.tensor([[0, 0, 1, 100, 300, 299], [0, 1, 1, 400, 0, 5]])
    k[:, :, :100] = v[:, :, :100] = math.nan
    k[:, :, 400:] = v[:, :, 400:] = math.nan
    found = call_kernel(q, k, v, sequences=sequences)
    own = truth(q[:, :, :1], k[:, :, 100:400], v[:, :, 100:400])
    assert_right(KernelResult(found.out[:, :, :1], found.log_sum_exp[:, :, :1], 0), own, q.dtype)
    assert (found.out[:, :, 1] == 0).all()
    assert (found.log_sum_exp[:, :, 1] == -math.inf).all()


def test_every_visible_pair_is_looked_at_and_counted() -> None:
    assert call_kernel(*draw_qkv(heads=8, kv_heads=2, kv_len=1000)).looked_at == 8 * 1000
    assert call_kernel(*draw_qkv(kv_len=1000), Reach(99, 0)).looked_at == 8 * 100


def test_one_query_more_is_a_block_and_gives_the_same() -> None:
    q, k, v = draw_qkv(q_len=FEW_QUERIES + 1, kv_len=500)
    whole = call_kernel(q, k, v)
    last = call_kernel(q[:, :, 1:], k, v)
    torch.testing.assert_close(last.out, whole.out[:, :, 1:], rtol=1e-5, atol=1e-6)


AT_THE_END_OF_MEMORY = """
import ctypes, mmap
import torch
from variants.batches.cache_norms import cache_norms
from variants.native.kernel_arguments import CAUSAL
from variants.native.kernel_call import attend
from variants.problem import alibi_slopes

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
regions = []

def at_the_end(tensor):
    \"\"\"Return a copy whose last byte is the last before memory that nothing may read.\"\"\"
    size = tensor.nbytes
    room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    region = mmap.mmap(-1, room + mmap.PAGESIZE)
    regions.append(region)
    address = ctypes.addressof(ctypes.c_char.from_buffer(region))
    assert libc.mprotect(address + room, mmap.PAGESIZE, 0) == 0
    placed = torch.frombuffer(region, dtype=tensor.dtype, count=tensor.numel(), offset=room - size)
    return placed.view(tensor.shape).copy_(tensor)

for dtype in (torch.float32, torch.bfloat16, torch.float16):
    for dim in (64, 17, 40, 120):
        for kv_len in (1, 9, 64, 100, 511):
            shapes = (1, 2, 1, dim), (1, 2, kv_len, dim), (1, 2, kv_len, dim)
            q, k, v = (at_the_end(torch.randn(shape).to(dtype)) for shape in shapes)
            attend(q, k, v, alibi_slopes(2), 0.1, CAUSAL)
print("read nothing else", flush=True)
import os
os._exit(0)
"""


def test_nothing_past_the_last_row_is_read() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END_OF_MEMORY], capture_output=True, text=True, check=False
    )
    assert done.stdout == "read nothing else\n", (done.returncode, done.stderr)


def test_a_long_cache_between_two_chunks_is_not_converted_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    q, k, v = draw_qkv(q_len=41, kv_len=1100, dtype=torch.float16)
    lines = [[0, 0, 20, 0, 30, 10], [0, 20, 1, 30, 1000, 999], [0, 21, 20, 1030, 30, 10]]
    widened: list[Tensor] = []

    def note(part: Tensor) -> Tensor:
        widened.append(part)
        return rows_of(part)

    monkeypatch.setattr(kernel_call, "rows_of", note)
    found = call_kernel(q, k, v, sequences=torch.tensor(lines))
    assert max(part.shape[2] for part in widened if part.dtype == torch.float32) == 60
    for _, at, some, key, keys, _ in lines:
        part = slice(at, at + some)
        inputs = q[:, :, part], k[:, :, key : key + keys], v[:, :, key : key + keys]
        some_rows = KernelResult(found.out[:, :, part], found.log_sum_exp[:, :, part], 0)
        assert_right(some_rows, truth(*inputs), q.dtype)


@given(
    ends=st.lists(st.integers(0, 700), min_size=1, max_size=4),
    q_len=st.integers(1, FEW_QUERIES),
    dim=st.integers(1, 100),
    group=st.integers(1, 5),
    count=st.integers(1, 4),
)
@settings(max_examples=examples(300), deadline=None)
def test_random_packed_keys_are_answered_rightly(
    ends: list[int], q_len: int, dim: int, group: int, count: int
) -> None:
    """Sequences lie one after another; each has as many of the queries as it has keys at least."""
    ends = [0, *sorted(ends)]
    lengths = [end - first for first, end in pairwise(ends)]
    queries = [min(q_len, length) for length in lengths]
    q, k, v = draw_qkv(
        heads=2 * group, kv_heads=2, q_len=max(1, sum(queries)), kv_len=max(1, ends[-1]), dim=dim
    )
    firsts = [sum(queries[:i]) for i in range(len(queries))]
    rows = zip(firsts, queries, ends, lengths, strict=False)
    sequences = [[0, at, some, key, keys, keys - some] for at, some, key, keys in rows]
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    found = call_kernel(q, k, v, sequences=torch.tensor(sequences))
    torch.set_num_threads(before)
    for _, at, some, key, keys, _ in sequences:
        if some:
            part = slice(at, at + some)
            inputs = q[:, :, part], k[:, :, key : key + keys], v[:, :, key : key + keys]
            some_rows = KernelResult(found.out[:, :, part], found.log_sum_exp[:, :, part], 0)
            assert_right(some_rows, truth(*inputs), q.dtype)
