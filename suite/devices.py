"""Which device a run measures: the one asked for, or the best that torch can use here."""

import re
from typing import NamedTuple

from variants import cuda_driver
from variants.hardware import Hardware, this_cpu, this_gpu
from variants.software import torch_cuda


class NoDevice(Exception):  # noqa: N818 - the user's mistake, not the program's
    """A device asked for that can't be used; the text says why and what would help."""


class Device(NamedTuple):
    """A device by torch's name, its hardware, and the UUID of a GPU."""

    name: str
    hardware: Hardware
    uuid: str | None = None

    @property
    def kind(self) -> str:
        """Either cpu or cuda."""
        return self.name.partition(":")[0]


def chosen(asked: str | None = None) -> Device:
    """Return the device `asked` for (cpu, cuda, cuda:1); without one, the first GPU or the CPU.

    Raises NoDevice for a name that means nothing, and for a GPU that torch can't use here.
    """
    if asked is None:
        try:
            return _gpu(0, "cuda")
        except NoDevice:
            return Device("cpu", this_cpu())
    if asked == "cpu":
        return Device("cpu", this_cpu())
    number = re.fullmatch(r"cuda(?::(\d{1,3}))?", asked)
    if number is None:
        raise NoDevice(f"--device {asked}: give cpu, cuda, or one GPU such as cuda:1")
    return _gpu(int(number[1] or 0), asked)


def _gpu(index: int, asked: str) -> Device:
    if torch_cuda() is None:
        raise NoDevice(f"--device {asked}: the torch installed here is built without CUDA")
    try:
        found = cuda_driver.devices()
    except cuda_driver.NoCuda as error:
        raise NoDevice(f"--device {asked}: {error}") from None
    if index >= len(found):
        raise NoDevice(f"--device {asked}: the GPUs here are cuda:0 to cuda:{len(found) - 1}")
    gpu = found[index]
    return Device(f"cuda:{index}", this_gpu(gpu), gpu.uuid)
