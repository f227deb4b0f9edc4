"""The device of a run: what was asked for, or a GPU where torch can use one, else the CPU."""

from pathlib import Path

import pytest

from suite.conditions.device import NoDevice, all_gpus, device_for
from tests.fakes.gpus import gpus, with_cuda
from variants.host.hardware import Gpu, this_cpu
from variants.host.software import torch_cuda

GPUS = gpus()


def test_the_cpu_can_always_be_asked_for() -> None:
    device = device_for("cpu")
    assert (device.name, device.kind, device.uuid) == ("cpu", "cpu", None)
    assert device.hardware == this_cpu()


@pytest.mark.parametrize(
    ("asked", "name", "uuid"),
    [(None, "cuda:0", "GPU-0"), ("cuda", "cuda:0", "GPU-0"), ("cuda:1", "cuda:1", "GPU-1")],
)
def test_a_gpu_is_found_by_its_number_and_preferred(
    asked: str | None, name: str, uuid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda(monkeypatch, GPUS)
    device = device_for(asked)
    assert (device.name, device.kind, device.uuid) == (name, "cuda", uuid)
    assert isinstance(device.hardware, Gpu)


def test_without_a_gpu_the_cpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch, "no NVIDIA driver is installed")
    assert device_for().name == "cpu"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("gpu", "--device gpu: give cpu, cuda, or one GPU such as cuda:1"),
        ("cuda:x", "--device cuda:x: give cpu, cuda"),
        ("cuda:-1", "--device cuda:-1: give cpu, cuda"),
        ("cuda:2", "--device cuda:2: the GPUs here are cuda:0 to cuda:1"),
        ("", "--device : give cpu, cuda"),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    asked: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda(monkeypatch, GPUS)
    with pytest.raises(NoDevice) as refused:
        device_for(asked)
    assert str(refused.value).startswith(words)


def test_what_is_wrong_with_the_driver_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch, "no NVIDIA driver is installed: install one")
    with pytest.raises(NoDevice, match="--device cuda: no NVIDIA driver is installed: install one"):
        device_for("cuda")


def test_all_gpus_are_those_of_the_driver_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch, GPUS)
    assert all_gpus() == [device_for("cuda:0"), device_for("cuda:1")]


def test_all_gpus_of_a_machine_without_one_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch, "no NVIDIA driver is installed: install one")
    with pytest.raises(NoDevice, match="--device all: no NVIDIA driver is installed: install one"):
        all_gpus()


@pytest.mark.skipif(torch_cuda() is not None, reason="this torch is built with CUDA")
def test_a_torch_without_cuda_is_named() -> None:
    with pytest.raises(NoDevice, match="--device cuda: the torch installed here is built without"):
        device_for("cuda")


def test_torchs_cuda_is_the_one_that_torch_tells() -> None:
    import torch

    assert torch_cuda() == torch.version.cuda
    assert Path(torch.__file__).with_name("version.py").exists()


@pytest.mark.parametrize(("capability", "half"), [("7.5", "float16"), ("8.0", "bfloat16")])
def test_an_old_gpu_is_measured_in_float16(
    capability: str, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda(monkeypatch, gpus(capability))
    assert device_for("cuda").half == half
    assert device_for("cpu").half == "bfloat16"
