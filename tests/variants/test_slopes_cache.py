"""What is built from slopes is kept for exactly as long as the slopes are the same."""

import gc
import weakref
from collections.abc import Callable

import torch
from torch import Tensor

from variants.slopes_cache import cache_by_slopes


def test_the_same_slopes_are_built_from_once() -> None:
    seen: list[Tensor] = []

    @cache_by_slopes
    def double(slopes: Tensor) -> Tensor:
        seen.append(slopes)
        return slopes * 2

    slopes = torch.tensor([0.5, 0.25])
    first = double(slopes)
    assert double(slopes) is first
    assert len(seen) == 1


def test_another_tensor_is_built_from_anew() -> None:
    double = cache_by_slopes(lambda slopes: slopes * 2)
    one, other = torch.tensor([0.5, 0.25]), torch.tensor([0.25, 0.5])
    assert double(one).tolist() == [1.0, 0.5]
    assert double(other).tolist() == [0.5, 1.0]
    assert double(one).tolist() == [1.0, 0.5]


def test_an_equal_tensor_is_still_another_one() -> None:
    double = cache_by_slopes(lambda slopes: slopes * 2)
    one, other = torch.tensor([0.5]), torch.tensor([0.5])
    assert double(one) is not double(other)


def test_slopes_written_to_in_place_are_built_from_anew() -> None:
    double = cache_by_slopes(lambda slopes: slopes * 2)
    slopes = torch.tensor([0.5, 0.25])
    double(slopes)
    slopes.mul_(2)
    assert double(slopes).tolist() == [2.0, 1.0]
    slopes[0] = 3.0
    assert double(slopes).tolist() == [6.0, 1.0]
    slopes.view(-1)[1] = 4.0
    assert double(slopes).tolist() == [6.0, 8.0]


def test_new_slopes_at_a_recycled_address_are_built_from_anew() -> None:
    double = cache_by_slopes(lambda slopes: slopes * 2)
    addresses: set[int] = set()
    recycled = 0
    for number in range(1, 65):
        slopes = torch.tensor([float(number)])
        recycled += id(slopes) in addresses
        addresses.add(id(slopes))
        assert double(slopes).tolist() == [2.0 * number]
        del slopes
    assert recycled > 0, "no address came back, so the test showed nothing"


def test_slopes_that_want_a_gradient_get_one_at_every_call() -> None:
    double = cache_by_slopes(lambda slopes: slopes * 2)
    slopes = torch.tensor([0.5, 0.25], requires_grad=True)
    for _ in range(2):
        (gradient,) = torch.autograd.grad(double(slopes).sum(), slopes)
        assert gradient.tolist() == [2.0, 2.0]
    assert double(slopes) is not double(slopes)


def test_slopes_that_begin_to_want_a_gradient_are_built_from_anew() -> None:
    double = cache_by_slopes(lambda slopes: slopes * 2)
    slopes = torch.tensor([0.5])
    assert not double(slopes).requires_grad
    slopes.requires_grad_()
    assert double(slopes).requires_grad


def test_the_callers_slopes_are_not_kept_alive() -> None:
    double = cache_by_slopes(lambda slopes: slopes * 2)
    slopes = torch.tensor([0.5])
    double(slopes)
    alive = weakref.ref(slopes)
    del slopes
    gc.collect()
    assert alive() is None


def test_what_is_kept_in_inference_mode_serves_training() -> None:
    build = cache_by_slopes(lambda slopes: slopes * 2)
    slopes, number = torch.ones(3), torch.tensor(1.0, requires_grad=True)
    with torch.inference_mode():
        inside = build(slopes)
        assert build(slopes) is inside
    assert build(slopes) is inside
    (gradient,) = torch.autograd.grad((build(slopes) * number).sum(), number)
    assert gradient == 6


def test_slopes_of_inference_mode_are_built_from_at_every_call() -> None:
    build = cache_by_slopes(lambda slopes: slopes * 2)
    with torch.inference_mode():
        slopes = torch.ones(3)
        build(slopes)
        slopes.mul_(2)
        assert build(slopes).tolist() == [4.0, 4.0, 4.0]


def test_what_torch_does_not_count_as_written_is_seen_on_the_cpu() -> None:
    double = cache_by_slopes(lambda slopes: slopes * 2)
    slopes = torch.nn.Parameter(torch.tensor([0.5, 0.25]), requires_grad=False)
    double(slopes)
    slopes.data.mul_(2)
    assert double(slopes).tolist() == [2.0, 1.0]
    slopes.detach().numpy()[0] = 3.0
    assert double(slopes).tolist() == [6.0, 1.0]
    slopes.data = torch.tensor([4.0, 5.0])
    assert double(slopes).tolist() == [8.0, 10.0]


class InterruptedOnce(Tensor):
    """Slopes during whose second comparison another thread has its turn."""

    turn: Callable[[], object] | None = None

    @property
    def _version(self) -> int:  # type: ignore[override]
        turn, self.turn = self.turn, None
        if turn is not None:
            turn()
        return 0


def test_a_thread_gets_what_was_built_of_its_own_slopes() -> None:
    double = cache_by_slopes(lambda slopes: slopes.as_subclass(Tensor) * 2)
    own, other = torch.tensor([0.5]).as_subclass(InterruptedOnce), torch.tensor([7.0])
    double(own)
    own.turn = lambda: double(other)
    assert double(own).tolist() == [1.0]
    assert double(own).tolist() == [1.0]


def test_nothing_is_kept_that_ends_with_a_transform() -> None:
    built: list[int] = []

    @cache_by_slopes
    def double(slopes: Tensor) -> Tensor:
        built.append(1)
        return slopes * 2

    slopes = torch.tensor([[0.5, 0.25], [3.0, 4.0]])
    twice = torch.func.vmap(lambda each: double(each) + double(each))(slopes)
    assert twice.tolist() == [[2.0, 1.0], [12.0, 16.0]]
    kept = double(slopes[0])
    torch.func.grad(lambda number: (double(slopes[0]) * number).sum())(torch.tensor(1.0))
    assert kept.tolist() == [1.0, 0.5]
    assert len(built) == 4
