"""Problems, and one timed call of the kernel, of bias-free SDPA or of another variant."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from variants.problem import alibi_slopes

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
DTYPE = torch.bfloat16 if ON_GPU else torch.float16


class Shape(NamedTuple):
    """A problem: heads, their width, keys, and what multiplies the slopes, and q and k.

    There are as many queries as keys and as many kv heads as heads, where these are 0.
    """

    heads: int
    head_dim: int
    length: int
    slope_scale: float = 1.0
    logit_scale: float = 1.0
    queries: int = 0
    kv_heads: int = 0
    batch: int = 1

    @property
    def name(self) -> str:
        extra = f", slopes x {self.slope_scale:g}" if self.slope_scale != 1 else ""
        extra += f", logit scale {self.logit_scale:g}" if self.logit_scale != 1 else ""
        extra += f", q_len {self.queries}" if self.queries else ""
        extra += f", {self.kv_heads} kv heads" if self.kv_heads else ""
        extra += f", batch {self.batch}" if self.batch != 1 else ""
        return f"{self.heads}x{self.head_dim}, {self.length} keys{extra}"

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return q, k, v [batch, heads, length, head_dim] and the slopes."""
        torch.manual_seed(0)
        of_keys = (self.batch, self.kv_heads or self.heads, self.length, self.head_dim)
        of_queries = (self.batch, self.heads, self.queries or self.length, self.head_dim)
        q, k, v = (
            torch.randn(size, device=DEVICE).to(DTYPE) for size in (of_queries, of_keys, of_keys)
        )
        slopes = alibi_slopes(self.heads).to(DEVICE) * self.slope_scale
        return q * self.logit_scale, k * self.logit_scale, v, slopes


class Measurement(NamedTuple):
    """A line of measurements.jsonl; `share` is that of all tiles which were visited."""

    experiment: str
    shape: str
    variant: str
    time_ms: float | None = None
    share: float | None = None
    predicted_over_no_bias: float | None = None
    note: str = ""


Take = Callable[[], Measurement]


def with_words(take: Take, **words: Any) -> Measurement:
    """Return a measurement with more words in it."""
    return take()._replace(**words)


def median_ms(call: Callable[[], object]) -> float:
    """Return the median time of a call."""
    if ON_GPU:
        from triton.testing import do_bench

        return float(do_bench(call, warmup=20, rep=80, return_mode="median"))
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def no_bias(backend: SDPBackend, shape: Shape, *, backward: bool = False) -> Measurement:
    """Time SDPA without a bias, by one of torch's backends: a query, or as many as keys."""
    q, k, v, _ = shape.tensors()
    for part in (q, k, v):
        part.requires_grad_(backward)

    def call() -> object:
        with sdpa_kernel(backend):
            out = scaled_dot_product_attention(
                *(q, k, v), is_causal=q.shape[2] > 1, enable_gqa=q.shape[1] != k.shape[1]
            )
        return torch.autograd.grad(out, (q, k, v), out.detach()) if backward else out

    name = f"no_bias, {str(backend).rpartition('.')[2].lower()}"
    return Measurement("", shape.name, name, median_ms(call))


def time_kernel(shape: Shape, *, backward: bool = False, **options: Any) -> Measurement:
    """Time the kernel, its keys not split; `options` are those of attend."""
    from variants.triton.gradient_function import CallOptions, differentiable_attend
    from variants.triton.launch import attend

    q, k, v, slopes = shape.tensors()
    scale = shape.head_dim**-0.5
    done = attend(q, k, v, slopes, scale, causal=True, **options)
    everything = attend(q, k, v, torch.zeros_like(slopes), scale, causal=True, **options)
    share = _tiles(done.visited) / max(1, _tiles(everything.visited))
    for part in (q, k, v):
        part.requires_grad_(backward)

    def call() -> object:
        if not backward:
            return attend(q, k, v, slopes, scale, causal=True, **options)
        out, _ = differentiable_attend(q, k, v, slopes, CallOptions(scale, causal=True))
        return torch.autograd.grad(out, (q, k, v), out.detach())

    return Measurement("", shape.name, "triton_window", median_ms(call), share)


def time_split_kernel(shape: Shape, *, splits: int = 0, has_norms: bool = True) -> Measurement:
    """Time the kernel with its keys split: into as many parts as the rule says, or into `splits`.

    With norms, those of a cache are made before. Without, a prefill makes them in the call.
    """
    from variants.batches.cache_norms import cache_norms
    from variants.triton.launch_split import attend_split, plan_for

    q, k, v, slopes = shape.tensors()
    scale, norms = shape.head_dim**-0.5, cache_norms(k, v) if has_norms else None
    plan = plan_for(q, k)
    plan = plan._replace(splits=splits) if splits else plan
    done, everything = (
        attend_split(q, k, v, each, scale, norms=norms, plan=plan)
        for each in (slopes, torch.zeros_like(slopes))
    )
    share = _tiles(done.visited) / max(1, _tiles(everything.visited))
    time_ms = median_ms(
        lambda: attend_split(q, k, v, slopes, scale, norms=norms, plan=plan),
    )
    note = f"splits {plan.splits}{', norms of the cache' if has_norms else ''}"
    return Measurement("", shape.name, "triton_window, split", time_ms, share, note=note)


def time_server_batch(shape: Shape, chunk: int, *, is_split: bool) -> Measurement:
    """Time a packed batch: a step of each of `shape.batch` caches, and a chunk of one prompt more.

    The keys of its steps are split among programs, or all is one launch. There are norms.
    """
    from variants.batches.cache_norms import cache_norms
    from variants.triton.launch import attend
    from variants.triton.launch_split import attend_mixed

    queries = torch.tensor([1] * shape.batch + [chunk], device=DEVICE)
    keys = torch.full_like(queries, shape.length)
    first_query, first_key = (lengths.cumsum(dim=0) - lengths for lengths in (queries, keys))
    lines = (queries * 0, first_query, queries, first_key, keys, keys - queries)
    runs = torch.stack(lines, dim=1).int()
    packed = shape._replace(batch=1, queries=shape.batch + chunk, length=int(keys.sum()))
    q, k, v, slopes = packed.tensors()
    scale, norms = shape.head_dim**-0.5, cache_norms(k, v)

    def call() -> object:
        if is_split:
            return attend_mixed(q, k, v, slopes, scale, runs=runs, norms=norms)
        return attend(q, k, v, slopes, scale, causal=True, runs=runs, norms=norms)

    name = "triton_window, steps split" if is_split else "triton_window"
    note = f"packed steps, and {chunk} queries of a prompt"
    return Measurement("", shape.name, name, median_ms(call), note=note)


def _tiles(visited: Tensor) -> int:
    """Return how many tiles were visited; each program has about one of its own."""
    return int(visited.sum()) + visited.numel() // 2


def of_variant(name: str, shape: Shape, *, backward: bool = False) -> Measurement:
    """Time another variant of the catalog; what it declines is a line that says so."""
    from variants.attention import alibi_attention

    q, k, v, slopes = shape.tensors()
    for part in (q, k, v):
        part.requires_grad_(backward)

    def call() -> object:
        out = alibi_attention(q, k, v, slopes=slopes, variant=name)
        return torch.autograd.grad(out, (q, k, v), out.detach()) if backward else out

    return Measurement("", shape.name, name, median_ms(call))
