"""auto keeps what it prepared for some shapes, no tensor of a user, and threads apart."""

import gc
import sys
import weakref
from dataclasses import replace
from threading import Barrier, Thread
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import Folders
from tests.variants.dispatch.user_choice import choose, watch_calls
from tests.variants.formula import assert_close, tensors, truth
from tests.variants.selections import SPEC
from variants.attention import alibi_attention
from variants.batches.sequences import Sequences
from variants.dispatch import answer, auto, substitutes
from variants.dispatch.answer import PREPARED_AT_MOST
from variants.dispatch.call import check_call
from variants.dispatch.checks.batch_arguments import Settings
from variants.dispatch.prepared_cache import tensor_bytes
from variants.problem import Unsupported
from variants.sdpa import sdpa_mask

pytestmark = pytest.mark.usefixtures("folders")


def test_names_are_noted_of_so_many_shapes_and_no_more() -> None:
    specs = [replace(SPEC, kv_len=length) for length in range(8, 8 + substitutes.AT_MOST + 3)]
    for spec in specs:
        substitutes.note(spec, "eager")
    noted = [spec for spec in specs if substitutes.last_variant(spec)]
    assert noted == specs[3:]
    substitutes.note(specs[-1], None)
    assert substitutes.last_variant(specs[-1]) is None


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("wants", [False, True])
def test_no_tensor_of_the_user_is_kept_alive(folders: Folders, strided: bool, wants: bool) -> None:
    choose(folders, "sdpa_key", "sdpa_mask", mode="backward" if wants else "forward")

    def call() -> list[weakref.ref[Tensor]]:
        q, k, v = (one[..., :: 1 + strided] for one in tensors(head_dim=32 << strided))
        q, k, v = (one.requires_grad_(wants) for one in (q, k, v))
        slopes = torch.full((4,), 0.1)
        out = alibi_attention(q, k, v, slopes=slopes)
        if wants:
            out.sum().backward()
        return [weakref.ref(one) for one in (q, k, v, slopes, out)]

    alive = [one for _ in range(2) for one in call()]
    gc.collect()
    assert [one() for one in alive] == [None] * 10


def test_what_is_prepared_is_kept_for_so_many_shapes_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = watch_calls(monkeypatch, "prepare")
    for length in range(1, PREPARED_AT_MOST + 10):
        q = torch.zeros(1, 1, length, 8)
        alibi_attention(q, q, q)
    assert len(answer._CACHE) == PREPARED_AT_MOST
    assert len(names) == PREPARED_AT_MOST + 9
    alibi_attention(q, q, q)
    assert len(names) == PREPARED_AT_MOST + 9


def test_what_the_chosen_variant_holds_is_weighed(folders: Folders) -> None:
    choose(folders, "sdpa_key", "sdpa_mask")
    q, k, v = (one[..., ::2] for one in tensors(head_dim=64))
    slopes = torch.full((4,), 0.1)
    spec = check_call(q, k, v, slopes, Sequences(), Settings()).spec
    own, named = auto.prepare(spec), sdpa_mask.prepare(spec)
    for attend in (own, named):
        attend(q, k, v, slopes)
    assert tensor_bytes(own) >= tensor_bytes(named) >= 4 * 48 * 48 * 4


@pytest.mark.heavy
def test_threads_with_other_shapes_and_slopes_get_their_own_answers(folders: Folders) -> None:
    choose(folders, "sdpa_key", "sdpa_mask", length=8)
    together, wrong = Barrier(8), list[Any]()
    asked = []
    for number in range(8):
        q, k, v = tensors(q_len=8 + number // 4, kv_len=8 + number // 4)
        slopes = torch.full((4,), 0.02 * (number + 1))
        asked.append((q, k, v, slopes, truth(q, k, v, slopes)))

    def ask(number: int) -> None:
        together.wait()
        for turn in range(400):
            q, k, v, slopes, wanted = asked[(number + turn) % 8]
            try:
                out = alibi_attention(q, k, v, slopes=slopes)
                assert_close(out, wanted, torch.float32)
            except BaseException as error:  # noqa: BLE001 - told by the test's own thread
                wrong.append(error)

    between = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(between)
    assert not wrong


def test_two_threads_whose_first_choice_declines_try_each_variant_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names, both = ("flex", "sdpa_mask", "eager"), Barrier(2)
    tried: dict[str, list[str]] = {"first thread": [], "second thread": []}

    def first(_: Any, left: tuple[str, ...]) -> Any:
        def attention(thread: str) -> str:
            tried[thread].append(left[0])
            if left[0] != names[-1]:
                raise Unsupported("not these tensors")
            return thread

        if left != names:
            both.wait(10)  # both threads prepare the next variant
        return left[0], attention, left[1:]

    monkeypatch.setattr(auto, "order", lambda _: names)
    monkeypatch.setattr(auto, "_first", first)
    monkeypatch.setattr(auto, "check_derivative", lambda *_: None)
    attend = auto.prepare(SPEC)
    threads = [Thread(target=attend, args=(name,)) for name in tried]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert list(tried.values()) == [list(names), list(names)]
