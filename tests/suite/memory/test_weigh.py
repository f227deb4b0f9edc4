"""Memory: to the byte where torch tells, and only what a variant itself keeps."""

from functools import partial

import pytest
import torch

from suite.agreement.inputs import draw, spec_of
from suite.cases.case import Case
from suite.memory.held_tensors import storages
from suite.memory.weigh import peak_of_events, weigh_on_cpu
from variants.plain import eager
from variants.problem import Attention
from variants.sdpa import sdpa_key, sdpa_mask

pytestmark = pytest.mark.usefixtures("one_thread", "small_heap")

CPU = torch.device("cpu")


LENGTH = 128


def weigh_variant(module: object, **changes: object) -> tuple[int, int, int | None]:
    """Return peak, persistent and resident bytes of a variant's forward call."""
    case = Case(
        **{"heads": 8, "kv_heads": 8, "head_dim": 64, "q_len": LENGTH, "kv_len": LENGTH}  # type: ignore[arg-type]
        | {"dtype": "bfloat16"}
        | changes
    )
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    attention: Attention = module.prepare(spec)  # type: ignore[attr-defined]
    arguments = (inputs.q, inputs.k, inputs.v, inputs.slopes)
    with torch.no_grad():
        attention(*arguments)
        found = weigh_on_cpu(partial(attention, *arguments), attention, arguments)
    return found.peak_bytes, found.persistent_bytes, found.resident_bytes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("heads", "length"), [(8, 128), (3, 100)])
def test_a_dense_mask_weighs_what_theory_says_to_the_byte(
    dtype: str, heads: int, length: int
) -> None:
    shape = {"heads": heads, "kv_heads": heads, "q_len": length, "kv_len": length, "dtype": dtype}
    _, persistent, _ = weigh_variant(sdpa_mask, **shape)
    assert persistent == heads * length * length * 4  # float32 in every dtype


def test_a_key_row_weighs_one_float32_and_one_position_a_key() -> None:
    _, persistent, _ = weigh_variant(sdpa_key)
    assert persistent == LENGTH * (8 * 4 + 8)


def test_the_plain_formula_keeps_nothing_and_allocates_the_scores() -> None:
    peak, persistent, _ = weigh_variant(eager)
    scores = 8 * LENGTH * LENGTH * 4
    assert persistent == 0
    assert 2 * scores <= peak <= 6 * scores


def test_a_fused_call_allocates_far_less_than_the_scores() -> None:
    peak, _, _ = weigh_variant(sdpa_mask)
    assert peak < 8 * LENGTH * LENGTH * 4


def test_the_resident_set_rises_by_what_a_call_touches() -> None:
    buffer = 64 << 20

    def call() -> torch.Tensor:
        return torch.ones(buffer // 4)

    found = weigh_on_cpu(call, call, ())
    assert found.peak_bytes == buffer
    assert found.resident_bytes is not None
    assert 0.9 * buffer < found.resident_bytes < 1.5 * buffer


def test_the_peak_is_the_highest_running_sum() -> None:
    assert peak_of_events([5, 3, -5, 1, -4]) == 8
    assert peak_of_events([]) == 0
    assert peak_of_events([-3, 2]) == 0


def test_inputs_and_shared_storages_are_not_counted_twice() -> None:
    given, kept = torch.ones(10), torch.ones(100)

    def attention() -> tuple[torch.Tensor, ...]:
        return given, kept, kept[:10]

    view = kept.view(10, 10)
    assert sum(storages(lambda: (attention(), view), [given]).values()) == 400


def test_tensors_are_found_in_closures_partials_containers_and_attributes() -> None:
    class Holder:
        def __init__(self) -> None:
            self.inside = {"list": [torch.ones(1)], "tuple": (torch.ones(2),)}

        def method(self) -> None:
            """Hold on to self."""

    bound: partial[object] = partial(dict, [("one", torch.ones(3))], keyword=torch.ones(4))
    holder = Holder()
    assert sum(storages(lambda: (bound, holder.method)).values()) == 4 * (1 + 2 + 3 + 4)
