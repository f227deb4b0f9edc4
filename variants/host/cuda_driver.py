"""The CUDA driver's devices, read from libcuda by ctypes, without torch.

libcuda and not NVML, because libcuda numbers devices as torch does: it obeys CUDA_VISIBLE_DEVICES
and CUDA_DEVICE_ORDER, and shows a MIG slice as a device with the slice's SMs and memory. NVML
always shows every whole GPU, in the order of the bus.

cuInit makes no context: the caller takes no GPU memory, appears in no list of processes, and passes
the device on to its child processes untouched. But a process forked from it without exec can't use
CUDA.
"""

import ctypes
import os
from ctypes import byref
from typing import Any, NamedTuple

LIBRARY = "libcuda.so.1"

_SMS, _L2_BYTES, _CAPABILITY_MAJOR, _CAPABILITY_MINOR = 16, 38, 75, 76
_NAME_BYTES = 100
_HELP = {
    34: "this libcuda is the toolkit's stub; put the driver's own first in LD_LIBRARY_PATH",
    100: "no GPU is to be seen",
    802: "the GPUs are not ready; on NVSwitch machines nvidia-fabricmanager has to run",
    803: "libcuda and the kernel's driver differ in version; restart after a driver update",
    804: "CUDA's forward compatibility does not cover this GPU; use a newer driver",
    999: "the driver is in no good state; load nvidia_uvm, or restart the machine or container",
}


class DriverDevice(NamedTuple):
    """A device as CUDA numbers it.

    `uuid` is written as NVML writes a GPU's, `capability` as "9.0".
    """

    index: int  # type: ignore[assignment] # hides tuple.index, which has no use here
    name: str
    uuid: str
    capability: str
    sms: int
    memory_bytes: int
    l2_bytes: int


class NoCuda(Exception):  # noqa: N818 - a state of the machine
    """CUDA can't be used here; the text says why and what would help."""


def devices(library: str = LIBRARY) -> list[DriverDevice]:
    """Return the devices that this process may use, in CUDA's order: at least one.

    Raises NoCuda where there is no driver, no device, or the driver fails.
    """
    driver = _Driver(library)
    driver.call("cuInit", 0)
    count = driver.number("cuDeviceGetCount")
    if count == 0:
        raise NoCuda(f"CUDA has no device: {_advice(100)}")
    return [_device(driver, index) for index in range(count)]


class _Driver:
    """The functions of libcuda, each call checked."""

    def __init__(self, library: str) -> None:
        try:
            self._library = ctypes.CDLL(library)
        except OSError as error:
            raise NoCuda(
                f"no NVIDIA driver is installed ({error}): install one, "
                "or start the container with its GPUs (docker run --gpus all)"
            ) from None

    def has(self, name: str) -> bool:
        """Return whether this driver is new enough to have a function."""
        return hasattr(self._library, name)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; raises NoCuda where it is missing or fails."""
        if not self.has(name):
            raise NoCuda(f"libcuda has no {name}: it is no CUDA driver, or too old; update it")
        if code := getattr(self._library, name)(*arguments):
            raise NoCuda(f"{name} failed with {self._words(code)}: {_advice(code)}")

    def number(self, name: str, *arguments: int) -> int:
        """Call a function that writes an int to its first argument, and return that int."""
        number = ctypes.c_int()
        self.call(name, byref(number), *arguments)
        return number.value

    def _words(self, code: int) -> str:
        words = [f"error {code}"]
        for name in ("cuGetErrorName", "cuGetErrorString"):
            text = ctypes.c_char_p()
            if self.has(name) and not getattr(self._library, name)(code, byref(text)):
                words.append((text.value or b"").decode(errors="replace"))
        return ", ".join(filter(None, words))


def _device(driver: _Driver, index: int) -> DriverDevice:
    handle = driver.number("cuDeviceGet", index)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    driver.call("cuDeviceGetName", name, _NAME_BYTES, handle)
    memory = ctypes.c_size_t()
    driver.call("cuDeviceTotalMem_v2", byref(memory), handle)

    def attribute(which: int) -> int:
        return driver.number("cuDeviceGetAttribute", which, handle)

    return DriverDevice(
        index=index,
        name=name.value.decode(errors="replace"),
        uuid=_uuid(driver, handle),
        capability=f"{attribute(_CAPABILITY_MAJOR)}.{attribute(_CAPABILITY_MINOR)}",
        sms=attribute(_SMS),
        memory_bytes=memory.value,
        l2_bytes=attribute(_L2_BYTES),
    )


def _uuid(driver: _Driver, handle: int) -> str:
    # The function without _v2 gives a MIG slice its whole GPU's UUID; old drivers have only it.
    name = "cuDeviceGetUuid_v2" if driver.has("cuDeviceGetUuid_v2") else "cuDeviceGetUuid"
    octets = (ctypes.c_ubyte * 16)()
    driver.call(name, byref(octets), handle)
    digits = bytes(octets).hex()
    return "GPU-" + "-".join(
        (digits[:8], *(digits[at : at + 4] for at in (8, 12, 16)), digits[20:])
    )


def _advice(code: int) -> str:
    help_ = _HELP.get(code, "nvidia-smi may tell more")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if code != 100:
        return help_
    if visible is None:
        return f"{help_}; nvidia-smi lists those of the machine, if any"
    return f"{help_}; CUDA_VISIBLE_DEVICES={visible!r} may hide every GPU: unset it"
