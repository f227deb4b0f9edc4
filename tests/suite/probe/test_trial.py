"""What a worker does with the variants themselves, without the process around it."""

from collections.abc import Callable

import pytest
import torch

from suite.cases.case import Mode
from suite.clocks.timer import Bench
from suite.probe.trial import outcomes
from suite.probe.worker import Outcome
from variants.problem import Attention, Spec, Unsupported
from variants.sdpa import sdpa_mask

BENCH = Bench(torch.device("cpu"))


def outcomes_of(*cells: tuple[str, Mode]) -> list[Outcome]:
    """Return what becomes of cells."""
    return list(outcomes(cells, BENCH))


def prepare(monkeypatch: pytest.MonkeyPatch, how: Callable[[Spec], Attention]) -> None:
    """Let sdpa_mask be prepared in another way."""
    monkeypatch.setattr(sdpa_mask, "prepare", lambda spec, **_: how(spec))


def test_variants_that_agree_are_measured_and_those_that_decline_say_why() -> None:
    baseline, right, declining = outcomes_of(
        ("no_bias", "backward"), ("sdpa_mask", "forward"), ("sdpa_mask_cudnn", "forward")
    )
    assert baseline.status == right.status == "measured"
    assert right.reason.startswith("out, batch 0 head ")
    assert declining.status == "unsupported"
    assert declining.reason


def test_a_cell_is_tried_in_the_half_precision_of_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decline(spec: Spec) -> Attention:
        raise Unsupported(str(spec.dtype))

    prepare(monkeypatch, decline)
    ((_, reason),) = outcomes([("sdpa_mask", "forward")], BENCH, "float16")
    assert reason == "torch.float16"


def test_a_variant_that_disagrees_is_told_with_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(monkeypatch, lambda _: lambda *tensors: torch.zeros_like(tensors[0]))
    ((status, reason),) = outcomes_of(("sdpa_mask", "forward"))
    assert (status, reason[:13]) == ("disagrees", "out, batch 0 ")


def test_after_a_failure_no_other_cell_is_tried_in_the_same_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: Spec) -> Attention:
        raise RuntimeError("a broken context")

    prepare(monkeypatch, fail)
    assert outcomes_of(("sdpa_mask", "forward"), ("eager", "forward")) == [
        Outcome("failed", "RuntimeError: a broken context")
    ]


def test_after_a_refusal_the_next_cell_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def decline(_: Spec) -> Attention:
        raise Unsupported("not here")

    prepare(monkeypatch, decline)
    first, second = outcomes_of(("sdpa_mask", "forward"), ("eager", "forward"))
    assert (first, second.status) == (Outcome("unsupported", "not here"), "measured")
