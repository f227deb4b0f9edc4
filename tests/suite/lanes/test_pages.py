"""A cache in pages: handed to variants that read pages, copied together for others, and judged."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from suite.agreement.inputs import draw
from suite.cases.case import PAGE_SIZE, Case
from suite.clocks.timer import Bench
from suite.lanes.prepared_case import PreparedCase, Subject
from suite.memory import predict
from tests.conftest import Folders
from tests.variants.selections import a_candidate, a_problem, choice_of, of_this_machine, put
from variants.batches import pages as variant_pages
from variants.batches.pages import gather
from variants.native import native_window

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
CASE = Case(
    heads=4, kv_heads=2, head_dim=16, q_len=1, kv_len=70, dtype="float32", mode="decode",
    layout="paged", batch=2,
)  # fmt: skip
MODULES = {
    "native_window": "variants.native.native_window",
    "auto": "variants.dispatch.auto",
    "sdpa_key": "variants.sdpa.sdpa_key",
    "sdpa_mask": "variants.sdpa.sdpa_mask",
    "eager": "variants.plain.eager",
}


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def prepare_case(name: str, case: Case = CASE) -> PreparedCase:
    return PreparedCase(Subject(MODULES[name], {}, answers="alibi"), case, 0, Bench(CPU))


@pytest.mark.parametrize("changes", [{}, {"norms": True}, {"q_len": 3}, {"dtype": "bfloat16"}])
@pytest.mark.parametrize("name", MODULES)
def test_every_variant_agrees_whether_it_reads_pages_or_copies_them(
    name: str, changes: dict[str, Any]
) -> None:
    if name == "sdpa_key" and "q_len" in changes:
        pytest.skip("it declines a few queries, paged or not")
    ready = prepare_case(name, msgspec.structs.replace(CASE, **changes))
    ready.first_call()
    for stage in ("before", "after"):
        checked = ready.check(stage, 1)
        assert checked.agrees, checked


def test_pages_hold_the_cache_in_another_order_and_nothing_else() -> None:
    inputs = draw(CASE, 0, "set 0", CPU)
    assert inputs.k_pages is not None
    assert inputs.v_pages is not None
    assert inputs.block_tables is not None
    for whole, part in ((inputs.k, inputs.k_pages), (inputs.v, inputs.v_pages)):
        assert torch.equal(gather(part, inputs.block_tables)[:, :, : CASE.kv_len], whole)
        assert part.isnan().any()
        assert part.nansum() == pytest.approx(whole.sum().item(), rel=1e-3)
        assert part.transpose(1, 2).is_contiguous()  # slots before heads, as servers have them
    flat = inputs.block_tables.flatten().tolist()
    assert len(set(flat)) == len(flat) == 2 * -(-CASE.kv_len // PAGE_SIZE)
    assert flat != sorted(flat)


def test_a_timed_call_gets_the_pages_and_not_the_cache_in_one_piece() -> None:
    inputs = draw(CASE, 0, "set 0", CPU)
    given = [tensor.data_ptr() for tensor in inputs.arguments]
    assert inputs.k.data_ptr() not in given
    assert inputs.block_tables is not None
    assert inputs.block_tables.data_ptr() in given


def test_a_variant_that_takes_pages_in_the_order_of_memory_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = native_window.prepare_general

    def in_order(spec: Any) -> Callable[..., Any]:
        attention = right(spec)

        def attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Any) -> Any:
            tables = sequences.block_tables
            rising = torch.arange(tables.numel(), dtype=torch.int32).reshape(tables.shape)
            return attention(q, k, v, slopes, sequences._replace(block_tables=rising))

        return attend

    monkeypatch.setattr(native_window, "prepare_general", in_order)
    assert not prepare_case("native_window").check("before", 1).agrees


def test_native_window_copies_no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Tensor:
        raise AssertionError("pages were copied together")

    monkeypatch.setattr(variant_pages, "gather", refuse)
    assert prepare_case("native_window").check("before", 1).agrees


def test_a_lane_tells_whom_auto_chose_for_pages_and_not_for_a_cache_in_one_piece(
    folders: Folders,
) -> None:
    shape: dict[str, Any] = {"heads": 4, "kv_heads": 2, "head_dim": 16, "batch": 2}
    problem = a_problem(CASE.kv_len, q_len=1, mode="decode", **shape)
    put(folders.of_user, of_this_machine(choice_of(problem, a_candidate("eager"))))
    chose = {}
    for layout in ("bhnd", "paged"):
        ready = prepare_case("auto", msgspec.structs.replace(CASE, layout=layout))
        chose[layout] = ready.name_kernels().chose
    assert chose == {"bhnd": "eager", "paged": "native_window"}


def test_memory_is_predicted_with_the_pages_that_lie_beside_the_cache() -> None:
    case = msgspec.structs.replace(CASE, kv_len=8192)
    whole = msgspec.structs.replace(case, layout="bhnd")
    paged, in_one_piece = (
        predict.predicted_bytes(each, MODULES["eager"], {}, CPU) for each in (case, whole)
    )
    assert paged is not None
    assert in_one_piece is not None
    inputs = draw(case, 0, "set 0", CPU)
    assert inputs.k_pages is not None
    pages_bytes = 2 * inputs.k_pages.nbytes
    assert 3 * pages_bytes <= paged - in_one_piece <= 5 * pages_bytes
