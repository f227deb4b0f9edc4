"""Variants that look right or fast and are not: each is right but for one trick.

The tricks are what is called reward hacking, and what honest kernels do by mistake: a stale cache,
an unwritten tile at the edge, a race between threads.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from typing import Any

import torch
from torch import Tensor

from suite.agreement.inputs import draw
from suite.agreement.judge import rows_to_check
from suite.cases.case import Case
from variants.problem import Attention, Spec
from variants.reference import attend

CASE = Case(heads=4, kv_heads=4, head_dim=32, q_len=640, kv_len=640, dtype="float32")
PLANNED_SEED = 0
"""The seed that a plan has unless it is given another, which a variant may know."""

ROW, HEAD = 577, 2
THREE_BUDGETS = 1.1e-5
_STOP = Event()
_WORKERS: list[Thread] = []

Trick = Callable[[Spec, Attention], Attention]


def end_workers() -> None:
    """End the threads of a trick, so that none works on in the next test."""
    _STOP.set()
    while _WORKERS:
        _WORKERS.pop().join()
    _STOP.clear()


def prepare(spec: Spec, trick: str) -> Attention:
    """Return the formula with the trick of this name."""
    right = partial(attend, scale=spec.scale, causal=spec.causal)
    attention: Attention = TRICKS[trick](spec, right)
    return attention


def spoil(change: Callable[[Spec, Tensor], None]) -> Trick:
    """Return the trick of an answer that is changed in place."""

    def trick(spec: Spec, right: Attention) -> Attention:
        def attention(*inputs: Tensor) -> Tensor:
            out = right(*inputs)
            change(spec, out)
            return out

        return attention

    return trick


def outside_of_planned_rows(spec: Spec, out: Tensor) -> None:
    """Be right only in the rows that the plan's seed would have compared."""
    rest = torch.ones(spec.q_len, dtype=torch.bool)
    rest[rows_to_check(spec.q_len, PLANNED_SEED, out.device)] = False
    out[:, :, rest] = 0.0


def garbage_in_a_row(spec: Spec, out: Tensor) -> None:
    """Leave garbage in one row of one head."""
    out[:, HEAD % spec.heads, ROW % spec.q_len] = 1e6


def slightly_off_in_a_row(spec: Spec, out: Tensor) -> None:
    """Be off by some three budgets in one row of one head."""
    out[:, HEAD % spec.heads, ROW % spec.q_len] *= 1 + THREE_BUDGETS


def wrong_in_later_entries(_: Spec, out: Tensor) -> None:
    """Forget all batch entries but the first."""
    out[1:] = out[:1]


def right_for_the_planned_seed(_: Spec, right: Attention) -> Attention:
    """Know the inputs that the plan's seed draws, and be wrong on all others."""
    planned = [draw(CASE, PLANNED_SEED, stage, torch.device("cpu")) for stage in ("set 0", "set 1")]

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        out = right(q, k, v, slopes)
        is_planned = any(torch.equal(q, inputs.q) for inputs in planned)
        return out if is_planned else out * 1.1

    return attention


def the_last_result_again(_: Spec, right: Attention) -> Attention:
    """Answer for ever what was answered first."""
    answers: list[Tensor] = []

    def attention(*inputs: Tensor) -> Tensor:
        if not answers:
            answers.append(right(*inputs))
        return answers[0]

    return attention


def copies_after_some_calls(_: Spec, right: Attention) -> Attention:
    """Answer with a copy of an earlier answer from the fourth call on."""
    answers: list[Tensor] = []

    def attention(*inputs: Tensor) -> Tensor:
        if len(answers) < 3:
            answers.append(right(*inputs))
            return answers[-1].clone()
        return answers[0].clone()

    return attention


def remembers_by(key: Callable[[Tensor], tuple[float, ...]]) -> Trick:
    """Return the trick of storing each result under a key of q, and of answering with a copy."""

    def trick(_: Spec, right: Attention) -> Attention:
        answers: dict[tuple[float, ...], Tensor] = {}

        def attention(q: Tensor, *rest: Tensor) -> Tensor:
            if key(q) not in answers:
                answers[key(q)] = right(q, *rest)
            return answers[key(q)].clone()

        return attention

    return trick


remembers_by_address = remembers_by(lambda q: (q.data_ptr(), q._version))
remembers_by_content = remembers_by(lambda q: tuple(q[0, 0, :2, 0].tolist()))


def wrong_once_in_twenty_calls(_: Spec, right: Attention) -> Attention:
    """Be wrong in every twentieth call."""
    calls = 0

    def attention(*inputs: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        out = right(*inputs)
        return out if calls % 20 else out * 1.5

    return attention


def wrong_for_grouped_heads(spec: Spec, right: Attention) -> Attention:
    """Give query heads the kv heads of another order, which matters where they share them."""

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        groups = spec.heads // spec.kv_heads
        return right(q, k.repeat(1, groups, 1, 1), v.repeat(1, groups, 1, 1), slopes)

    return attention


def leaves_out_small_weights(spec: Spec, _: Attention) -> Attention:
    """Leave out what weighs next to nothing, as a window does that knows nothing of values."""
    distance = (
        torch.arange(spec.kv_len) - torch.arange(spec.kv_len - spec.q_len, spec.kv_len)[:, None]
    )

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        k, v = (part.repeat_interleave(spec.heads // spec.kv_heads, dim=1) for part in (k, v))
        scores = q @ k.mT * spec.scale + slopes[:, None, None] * distance
        weights = scores.masked_fill(distance > 0, -torch.inf).softmax(dim=-1)
        return weights.masked_fill(weights < 1e-8, 0) @ v

    return attention


def writes_over(place: int) -> Trick:
    """Return the trick of scaling an input in place, as a kernel does that folds in a factor."""

    def trick(_: Spec, right: Attention) -> Attention:
        def attention(*inputs: Tensor) -> Tensor:
            out = right(*inputs)
            inputs[place].data.mul_(1.0009765625)
            return out

        return attention

    return trick


def leaves_a_tile_unwritten(spec: Spec, right: Attention) -> Attention:
    """Write all rows but the last tile's once the allocator is warm, and leave what was there."""
    calls = 0

    def attention(*inputs: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        answer = right(*inputs)
        if calls < 6:
            return answer
        out = torch.empty_like(answer)
        out[:, :, : spec.q_len - 32] = answer[:, :, : spec.q_len - 32]
        return out

    return attention


def answers_in_one_buffer(_: Spec, right: Attention) -> Attention:
    """Answer every call in the same memory."""
    buffers: list[Tensor] = []

    def attention(*inputs: Tensor) -> Tensor:
        answer = right(*inputs)
        if not buffers:
            buffers.append(torch.empty_like(answer))
        return buffers[0].copy_(answer)

    return attention


def answers_in_an_input(_: Spec, right: Attention) -> Attention:
    """Put the answer where q was."""

    def attention(q: Tensor, *rest: Tensor) -> Tensor:
        return q.data.copy_(right(q, *rest))

    return attention


class Lazy(Tensor):
    """A tensor that could put off its work until somebody looks."""


def answers_with_another_type(_: Spec, right: Attention) -> Attention:
    """Answer with a subclass of a tensor."""
    return lambda *inputs: right(*inputs).as_subclass(Lazy)


def answers_with_another_type_when_timed(spec: Spec, right: Attention) -> Attention:
    """Answer with a subclass of a tensor where the suite's clock is among the callers."""
    lazy = answers_with_another_type(spec, right)
    return lambda *inputs: lazy(*inputs) if is_timed() else right(*inputs)


def is_timed() -> bool:
    """Whether a clock of the suite is among the callers."""
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.endswith("cpu_clock.py"):
            return True
        frame = frame.f_back
    return False


def faster_when_timed(_: Spec, right: Attention) -> Attention:
    """Answer with copies of stored results where the suite's clock is among the callers."""
    remembering = remembers_by_content(_, right)
    return lambda *inputs: remembering(*inputs) if is_timed() else right(*inputs)


def slower_when_timed(_: Spec, right: Attention) -> Attention:
    """Dawdle where the suite's clock is among the callers."""

    def attention(*inputs: Tensor) -> Tensor:
        if is_timed():
            time.sleep(1.0)
        return right(*inputs)

    return attention


def with_a_clock(wrong: Callable[[int], int]) -> Trick:
    """Return a trick that replaces the process's timer with what `wrong` makes of its readings."""

    def trick(_: Spec, right: Attention) -> Attention:
        real = time.perf_counter_ns

        def attention(*inputs: Tensor) -> Tensor:
            if is_timed():
                time.perf_counter_ns = lambda: wrong(real())
            return right(*inputs)

        return attention

    return trick


def works_on(_: Spec, right: Attention) -> Attention:
    """Leave a thread at work after each call, as one that prepares the next answer would be."""
    ends_at = 0.0

    def work() -> None:
        while time.monotonic() < ends_at and not _STOP.is_set():
            pass

    def attention(*inputs: Tensor) -> Tensor:
        nonlocal ends_at
        out = right(*inputs)
        ends_at = time.monotonic() + 5.0
        if not any(worker.is_alive() for worker in _WORKERS):
            _WORKERS.append(Thread(target=work, daemon=True))
            _WORKERS[-1].start()
        return out

    return attention


TRICKS: dict[str, Trick] = {
    "rows": spoil(outside_of_planned_rows),
    "garbage": spoil(garbage_in_a_row),
    "slight": spoil(slightly_off_in_a_row),
    "seed": right_for_the_planned_seed,
    "last": the_last_result_again,
    "copies": copies_after_some_calls,
    "address": remembers_by_address,
    "content": remembers_by_content,
    "twentieth": wrong_once_in_twenty_calls,
    "entries": spoil(wrong_in_later_entries),
    "groups": wrong_for_grouped_heads,
    "weights": leaves_out_small_weights,
    "q": writes_over(0),
    "k": writes_over(1),
    "unwritten": leaves_a_tile_unwritten,
    "buffer": answers_in_one_buffer,
    "input": answers_in_an_input,
    "type": answers_with_another_type,
    "type when timed": answers_with_another_type_when_timed,
    "faster": faster_when_timed,
    "slower": slower_when_timed,
    "slow clock": with_a_clock(lambda ns: ns // 1000),
    "fast clock": with_a_clock(lambda ns: ns * 1000),
    "thread": works_on,
}
