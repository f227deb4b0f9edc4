"""Devices are read through the real ctypes code from a C library that stands in for libcuda."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from variants.host.cuda_driver import DriverDevice, NoCuda, devices

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "tests" / "fakes" / "cuda_driver.c"
WHOLE = DriverDevice(
    index=0,
    name="Invented GPU 80GB HBM3",
    uuid="GPU-00017f80-ff05-0607-0809-0a0b0c0d0e0f",
    capability="9.0",
    sms=132,
    memory_bytes=80 << 30,
    l2_bytes=50 << 20,
)
SLICE = DriverDevice(
    index=1,
    name="Invented GPU 80GB HBM3 MIG 1g.10gb",
    uuid="GPU-aa010203-0405-0607-0809-0a0b0c0d0e0f",
    capability="9.0",
    sms=16,
    memory_bytes=(10 << 30) - (200 << 20),
    l2_bytes=6 << 20,
)
SEE_AS_TORCH_DOES = """
from variants.host.cuda_driver import devices
mine = [(one.name, one.uuid, one.capability, one.sms, one.memory_bytes, one.l2_bytes)
        for one in devices()]
import torch
seen = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
theirs = [(one.name, "GPU-" + str(one.uuid).removeprefix("GPU-"), f"{one.major}.{one.minor}",
           one.multi_processor_count, one.total_memory, one.L2_cache_size) for one in seen]
assert mine == theirs, f"{mine} and not {theirs}"
"""
HAVE_NO_CONTEXT = """
import ctypes
from variants.host.cuda_driver import devices
found = devices()
driver = ctypes.CDLL("libcuda.so.1")
for one in found:
    handle, flags, active = ctypes.c_int(), ctypes.c_uint(), ctypes.c_int()
    assert driver.cuDeviceGet(ctypes.byref(handle), one.index) == 0
    state = ctypes.byref(flags), ctypes.byref(active)
    assert driver.cuDevicePrimaryCtxGetState(handle, *state) == 0
    assert active.value == 0, f"device {one.index} has a context"
"""


def compile_driver(folder: Path, *options: str) -> str:
    """Compile the stand-in and return its path."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: apt-get install gcc")
    library = folder / "libfakecuda.so"
    subprocess.run(["gcc", "-shared", "-fPIC", *options, "-o", library, SOURCE], check=True)
    return str(library)


@pytest.fixture(scope="session")
def new_driver(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Compile a driver of today."""
    return compile_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def driver(new_driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a driver that nobody has initialised yet, nor hides devices from."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return str(shutil.copy(new_driver, str(tmp_path / "libcuda.so.1")))


@pytest.fixture
def old_driver(tmp_path: Path) -> str:
    """Return a driver that lacks what newer ones have."""
    return compile_driver(tmp_path, "-DOLD")


def test_every_device_is_read_in_the_driver_s_order(driver: str) -> None:
    assert devices(driver) == [WHOLE, SLICE]


def test_devices_can_be_asked_for_again(driver: str) -> None:
    assert devices(driver) == devices(driver)


def test_only_what_the_driver_counts_is_read(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CUDA_COUNT", "1")
    assert devices(driver) == [WHOLE]


def test_an_old_driver_gives_a_slice_the_uuid_of_its_gpu(old_driver: str) -> None:
    assert devices(old_driver) == [WHOLE, SLICE._replace(uuid=WHOLE.uuid)]


def test_without_the_library_no_driver_is_installed() -> None:
    with pytest.raises(NoCuda, match=r"no NVIDIA driver is installed \(libnowhere.*install one"):
        devices("libnowhere.so.1")


def test_a_library_that_is_no_cuda_driver_is_named_for_what_it_lacks() -> None:
    with pytest.raises(NoCuda, match=r"libcuda has no cuInit: .*update it"):
        devices("libc.so.6")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (100, "error 100, CUDA_ERROR_NO_DEVICE, no CUDA-capable device is detected: no GPU is"),
        (999, "error 999, CUDA_ERROR_UNKNOWN, unknown error: the driver is in no good state"),
        (803, "error 803: libcuda and the kernel's driver differ"),
        (7, "error 7: nvidia-smi may tell more"),
    ],
    ids=["no device", "unknown", "known to us", "known to nobody"],
)
def test_a_driver_that_does_not_start_says_why_and_what_would_help(
    code: int, words: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CUDA_FAILS", f"cuInit={code}")
    with pytest.raises(NoCuda) as raised:
        devices(driver)
    assert str(raised.value).startswith(f"cuInit failed with {words}")


def test_an_old_driver_s_error_is_its_number(
    old_driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CUDA_FAILS", "cuInit=999")
    with pytest.raises(NoCuda, match=r"^cuInit failed with error 999: the driver is in no good"):
        devices(old_driver)


@pytest.mark.parametrize("change", ["FAKE_CUDA_FAILS=cuInit=100", "FAKE_CUDA_COUNT=0"])
def test_where_no_device_is_visible_the_variable_that_hides_them_is_named(
    change: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*change.split("=", 1))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(NoCuda, match="CUDA_VISIBLE_DEVICES='' may hide every GPU: unset it"):
        devices(driver)


def test_where_nothing_hides_devices_nothing_is_blamed(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CUDA_COUNT", "0")
    with pytest.raises(NoCuda, match=r"^CUDA has no device: no GPU is to be seen; nvidia-smi"):
        devices(driver)


@pytest.mark.parametrize(
    "function",
    [
        "cuDeviceGetCount",
        "cuDeviceGet",
        "cuDeviceGetName",
        "cuDeviceGetUuid_v2",
        "cuDeviceTotalMem_v2",
        "cuDeviceGetAttribute",
    ],
)
def test_a_question_that_fails_is_named(
    function: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CUDA_FAILS", f"{function}=999")
    with pytest.raises(NoCuda, match=f"^{function} failed with error 999, CUDA_ERROR_UNKNOWN"):
        devices(driver)


def test_reading_devices_imports_no_torch(driver: str) -> None:
    code = (
        "import sys; from variants.host.cuda_driver import devices;"
        f" devices({driver!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.gpu
@pytest.mark.parametrize(
    "code", [SEE_AS_TORCH_DOES, HAVE_NO_CONTEXT], ids=["as torch does", "without a context"]
)
def test_this_machine_s_gpus_are_seen(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
