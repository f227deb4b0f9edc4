"""The device that a run measures: the user's choice, or the best that torch can use here."""

import re
from typing import Literal, NamedTuple

from suite.failures import BadRequest
from variants.host import cuda_driver
from variants.host.hardware import Gpu, Hardware, this_cpu, this_gpu
from variants.host.software import torch_cuda


class NoDevice(BadRequest):
    """The requested device can't be used; the text says why and what would help."""


class Device(NamedTuple):
    """A device by torch's name, its hardware, and a GPU's UUID."""

    name: str
    hardware: Hardware
    uuid: str | None = None

    @property
    def kind(self) -> str:
        """The kind of device: cpu or cuda."""
        return self.name.partition(":")[0]

    @property
    def half(self) -> Literal["bfloat16", "float16"]:
        """The half precision that it is measured in by default.

        It is bfloat16, and float16 on a GPU that only emulates bfloat16.
        """
        emulates = isinstance(self.hardware, Gpu) and not self.hardware.has_bfloat16
        return "float16" if emulates else "bfloat16"


def device_for(name: str | None = None) -> Device:
    """Return the device with torch's name (cpu, cuda, cuda:1).

    Without a name it is the first GPU, or the CPU where torch can use no GPU. Raises NoDevice for
    a name that is no device's, and for a GPU that torch can't use here.
    """
    if name is None:
        try:
            return _gpu(0, "cuda")
        except NoDevice:
            return Device("cpu", this_cpu())
    if name == "cpu":
        return Device("cpu", this_cpu())
    match = re.fullmatch(r"cuda(?::(\d{1,3}))?", name)
    if match is None:
        raise NoDevice(f"--device {name}: give cpu, cuda, or one GPU such as cuda:1")
    return _gpu(int(match[1] or 0), name)


def all_gpus() -> list[Device]:
    """Return all GPUs of this machine that torch can use: at least one. Raises NoDevice."""
    return [_device(gpu) for gpu in _usable("all")]


def _gpu(index: int, name: str) -> Device:
    usable = _usable(name)
    if index >= len(usable):
        raise NoDevice(f"--device {name}: the GPUs here are cuda:0 to cuda:{len(usable) - 1}")
    return _device(usable[index])


def _usable(name: str) -> list[cuda_driver.DriverDevice]:
    """Return the driver's GPUs. Raises NoDevice for --device `name` where torch can use none."""
    if torch_cuda() is None:
        raise NoDevice(f"--device {name}: the torch installed here is built without CUDA")
    try:
        return cuda_driver.devices()
    except cuda_driver.NoCuda as error:
        raise NoDevice(f"--device {name}: {error}") from None


def _device(gpu: cuda_driver.DriverDevice) -> Device:
    return Device(f"cuda:{gpu.index}", this_gpu(gpu), gpu.uuid)
