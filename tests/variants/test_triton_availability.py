"""triton_window says why it can't run here, before anything is compiled."""

from dataclasses import replace

import pytest
import torch

from tests.variants.attacks import draw_qk, spec_for
from variants.problem import Extras, Spec, Unsupported
from variants.triton import availability
from variants.triton.triton_window import prepare, prepare_general

ON_CUDA = replace(spec_for(*draw_qk(70)), device=torch.device("cuda"))


@pytest.fixture(autouse=True)
def _not_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no interpreter, and a Triton to be found."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(availability, "find_spec", lambda _: object())


def refusal(spec: Spec) -> str:
    with pytest.raises(Unsupported) as caught:
        prepare(spec)
    return str(caught.value)


def test_a_cpu_is_pointed_to_the_kernel_for_cpus() -> None:
    assert "for CUDA; native_window leaves out the same" in refusal(spec_for(*draw_qk(70)))


def test_without_triton_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "find_spec", lambda _: None)
    assert "pip install triton" in refusal(ON_CUDA)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "pip install triton" in refusal(spec_for(*draw_qk(70)))


def test_a_gpu_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert refusal(ON_CUDA) == "compute capability 7.5: the kernel needs 8.0"


def test_a_gpu_of_another_maker_is_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert "NVIDIA's GPUs alone" in refusal(ON_CUDA)


def test_what_it_has_no_room_for_and_does_not_compute_is_declined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    wide = replace(ON_CUDA, head_dim=128, needs_grad=True)
    assert "gradients have room for 64 in this dtype; flex" in refusal(wide)
    wide = replace(wide, dtype=torch.bfloat16, head_dim=256)
    assert "gradients have room for 128 in this dtype; flex" in refusal(wide)
    assert "room for 256" in refusal(replace(ON_CUDA, head_dim=257))
    assert "counts to 16777216" in refusal(replace(ON_CUDA, kv_len=1 << 25))
    for extras, text in (
        (Extras(window=(8, 0)), "no window; flex"),
        (Extras(value_dim=8), "flex and sdpa_mask take any"),
        (Extras(dropout_p=0.1), "no dropout; eager"),
    ):
        with pytest.raises(Unsupported, match=text):
            prepare_general(replace(ON_CUDA, extras=extras))
