"""compile: one graph a shape, or one for all lengths, and never eager code in their place."""

from collections.abc import Iterator

import pytest
import torch
from torch._dynamo.exc import FailOnRecompileLimitHit

from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.cases.case import Case
from suite.clocks.timer import Bench
from suite.lanes.decoding import graphs_compiled
from suite.lanes.prepared_case import PreparedCase, Subject
from variants.compiled import compile as module

CPU = torch.device("cpu")
DYNAMIC = {"lengths": "dynamic"}

pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def no_graphs() -> Iterator[None]:
    """Begin without graphs from other tests, and without gradients."""
    module._any_length.cache_clear()
    with torch.no_grad():
        yield


def case_of(q_len: int, kv_len: int, mode: str = "forward", heads: int = 3) -> Case:
    """Return a small case."""
    return Case(
        heads=heads,
        kv_heads=heads,
        head_dim=16,
        q_len=q_len,
        kv_len=kv_len,
        dtype="bfloat16",
        mode=mode,  # type: ignore[arg-type]
    )


def graphs_for(lengths: list[tuple[int, int]], options: dict[str, str]) -> int:
    """Return how many graphs are compiled for lengths, each prepared anew and checked."""
    before = graphs_compiled()
    for q_len, kv_len in lengths:
        case = case_of(q_len, kv_len)
        spec = spec_of(case, CPU)
        attention = module.prepare(spec, **options)
        found = check(attention, spec, draw(case, 0, "before", CPU), answers="alibi", seed=0)
        assert found.agrees, found
    return graphs_compiled() - before


SQUARES = [(length, length) for length in (64, 32, 33, 128, 7, 100, 64, 11, 200, 48)]


@pytest.mark.heavy
def test_a_stream_of_lengths_has_one_dynamic_graph_and_a_static_one_each() -> None:
    assert graphs_for(SQUARES, DYNAMIC) == 1
    assert graphs_for(SQUARES[:3], {}) == 3


def test_single_queries_and_chunks_have_at_most_a_graph_of_their_own_for_all_lengths() -> None:
    steps, chunks = [(1, 40), (1, 41), (1, 90)], [(8, 40), (9, 80), (20, 64)]
    assert graphs_for([*SQUARES[:2], *steps, *chunks, *SQUARES[2:4]], DYNAMIC) <= 3


@pytest.mark.heavy
def test_decode_compiles_for_a_view_of_the_cache_and_for_all_of_it_and_not_in_its_turns() -> None:
    subject = Subject("variants.compiled.compile", DYNAMIC, answers="alibi")
    before = graphs_compiled()
    ready = PreparedCase(subject, case_of(1, 40, "decode"), 0, Bench(CPU))
    ready.first_call()
    assert graphs_compiled() - before == 2
    sampled = ready.take_turn()
    assert sampled.steps > 0
    assert sampled.recompilations == 0
    assert ready.check("after", 1).agrees
    assert graphs_compiled() - before == 2


def test_other_heads_are_another_graph_that_has_a_limit_of_its_own() -> None:
    other = spec_of(case_of(8, 8, heads=4), CPU)
    first, second = (module.prepare(spec_of(case_of(n, n), CPU), **DYNAMIC) for n in (8, 9))
    assert first is second
    assert module.prepare(other, **DYNAMIC) is not first


@torch._dynamo.config.patch(recompile_limit=1)  # type: ignore[untyped-decorator]
def test_past_the_recompile_limit_one_graph_for_all_lengths_is_an_error_too() -> None:
    graphs_for([(8, 8), (9, 9)], DYNAMIC)
    with pytest.raises(FailOnRecompileLimitHit):
        graphs_for([(1, 9)], DYNAMIC)


def test_the_search_asks_torch_for_kernels_that_are_timed_without_cuda_graphs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, object]] = []

    def record(function: object, **options: object) -> object:
        asked.append(options)
        return function

    monkeypatch.setattr(torch, "compile", record)
    spec = spec_of(case_of(8, 8), CPU)
    for options in ({"search": "autotune"}, {}, DYNAMIC):
        module.prepare(spec, **options)
    assert [(one["mode"], one["dynamic"], one["fullgraph"]) for one in asked] == [
        ("max-autotune-no-cudagraphs", False, True),
        (None, False, True),
        (None, True, True),
    ]
