"""GPUs that nobody has, in the place of this machine's."""

import pytest

from suite.conditions import device
from variants.host import cuda_driver
from variants.host.cuda_driver import DriverDevice, NoCuda


def gpus(capability: str = "9.0") -> list[DriverDevice]:
    """Return two GPUs of a compute capability."""
    return [
        DriverDevice(index, "Invented GPU", f"GPU-{index}", capability, 132, 80 << 30, 50 << 20)
        for index in range(2)
    ]


def with_cuda(monkeypatch: pytest.MonkeyPatch, found: list[DriverDevice] | str) -> None:
    """Let torch be built with CUDA, and the driver tell of GPUs or of what is the matter."""

    def devices() -> list[DriverDevice]:
        if isinstance(found, str):
            raise NoCuda(found)
        return found

    monkeypatch.setattr(device, "torch_cuda", lambda: "13.0")
    monkeypatch.setattr(cuda_driver, "devices", devices)
