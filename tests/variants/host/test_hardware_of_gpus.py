"""A GPU has a key of its name, SMs, memory, power limit and slice, whatever NVML hides."""

from typing import Any

import msgspec
import pynvml
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.nvml import MIG_UUID, NOT_SUPPORTED, UUID, FakeNvml
from tests.variants.host.test_hardware import FOLDER_SAFE
from variants.host.cuda_driver import DriverDevice
from variants.host.hardware import Cpu, Gpu, Hardware, this_cpu, this_gpu

H100 = DriverDevice(
    index=0,
    name="NVIDIA H100 80GB HBM3",
    uuid=UUID,
    capability="9.0",
    sms=132,
    memory_bytes=80 << 30,
    l2_bytes=50 << 20,
)
SLICE = H100._replace(name="NVIDIA H100 80GB HBM3 MIG 1g.10gb", sms=16, memory_bytes=10 << 30)


def test_a_gpu_is_told_by_name_sms_memory_and_power_limit(fake_nvml: FakeNvml) -> None:
    fake_nvml()
    gpu = this_gpu(H100)
    assert gpu.key == "cuda-nvidia-h100-80gb-hbm3-132sm-80gib-700w"
    assert gpu.name == "NVIDIA H100 80GB HBM3, 132 SMs, 80 GiB, 700 W"
    assert (gpu.capability, gpu.sms, gpu.memory_bytes) == ("9.0", 132, 80 << 30)
    assert gpu.l2_bytes == 50 << 20
    assert (gpu.mig, gpu.power_limit_w) == (False, 700)


def test_a_gpu_stands_in_its_host_whose_cores_issue_its_work(fake_nvml: FakeNvml) -> None:
    fake_nvml()
    gpu = this_gpu(H100)
    assert gpu.host == this_cpu()
    assert gpu.cores == gpu.host.cores


def test_the_power_limit_is_in_whole_watts(fake_nvml: FakeNvml) -> None:
    fake_nvml(power_limit_mw=349_990)
    assert this_gpu(H100).power_limit_w == 350


def test_a_slice_is_told_from_its_gpu_and_has_that_gpu_s_power_limit(fake_nvml: FakeNvml) -> None:
    fake_nvml(uuid=MIG_UUID, mig=1)
    gpu = this_gpu(SLICE)
    assert gpu.key == "cuda-nvidia-h100-80gb-hbm3-mig-1g-10gb-16sm-10gib-mig-700w"
    assert (gpu.mig, gpu.power_limit_w) == (True, 700)


def test_a_slice_that_an_old_driver_gives_its_gpu_s_uuid_is_still_a_slice(
    fake_nvml: FakeNvml,
) -> None:
    fake_nvml(mig=1)
    assert this_gpu(SLICE._replace(name="NVIDIA H100")).mig


def test_a_gpu_that_can_t_be_sliced_still_has_its_power_limit(fake_nvml: FakeNvml) -> None:
    fake_nvml(refuses={"nvmlDeviceGetMigMode": NOT_SUPPORTED})
    gpu = this_gpu(H100)
    assert (gpu.mig, gpu.power_limit_w) == (False, 700)


@pytest.mark.parametrize(
    "changes",
    [
        {"refuses": {"nvmlInitWithFlags": pynvml.NVML_ERROR_DRIVER_NOT_LOADED}},
        {"refuses": {"nvmlDeviceGetEnforcedPowerLimit": NOT_SUPPORTED}},
        {"refuses": {"nvmlDeviceGetHandleByUUID": pynvml.NVML_ERROR_NO_PERMISSION}},
        {"uuid": "GPU-of-somebody-else"},
    ],
    ids=["NVML", "limit", "permission", "UUID"],
)
def test_without_a_known_power_limit_the_key_has_none(changes: Any, fake_nvml: FakeNvml) -> None:
    fake_nvml(**changes)
    gpu = this_gpu(H100)
    assert gpu.power_limit_w is None
    assert gpu.key == "cuda-nvidia-h100-80gb-hbm3-132sm-80gib"
    assert gpu.name == "NVIDIA H100 80GB HBM3, 132 SMs, 80 GiB"


@pytest.mark.parametrize(("device", "mig"), [(H100, False), (SLICE, True)], ids=["whole", "slice"])
def test_where_nvml_is_silent_the_name_tells_a_slice(
    device: DriverDevice, mig: bool, fake_nvml: FakeNvml
) -> None:
    fake_nvml(uuid="GPU-of-somebody-else")
    gpu = this_gpu(device)
    assert gpu.mig is mig
    assert gpu.key.endswith("-mig") is mig


def test_a_slice_whose_gpu_nvml_hides_has_no_power_limit(fake_nvml: FakeNvml) -> None:
    fake_nvml(
        uuid=MIG_UUID, refuses={"nvmlDeviceGetDeviceHandleFromMigDeviceHandle": NOT_SUPPORTED}
    )
    gpu = this_gpu(SLICE)
    assert (gpu.mig, gpu.power_limit_w) == (True, None)


@pytest.mark.parametrize(
    "refuses",
    [{}, {"nvmlDeviceGetHandleByUUID": NOT_SUPPORTED}],
    ids=["answered", "refused"],
)
def test_nvml_is_closed_again(refuses: dict[str, int], fake_nvml: FakeNvml) -> None:
    library = fake_nvml(refuses=refuses)
    this_gpu(H100)
    assert (library.started, library.shut_down) == (1, 1)


@pytest.mark.parametrize(
    "changes",
    [{"name": "NVIDIA H200"}, {"sms": 114}, {"memory_bytes": 96 << 30}],
    ids=["name", "SMs", "memory"],
)
def test_what_makes_another_gpu_makes_another_key(changes: Any, fake_nvml: FakeNvml) -> None:
    fake_nvml()
    assert this_gpu(H100._replace(**changes)).key != this_gpu(H100).key


def test_another_power_limit_or_slicing_makes_another_key(fake_nvml: FakeNvml) -> None:
    keys = set()
    for changes in ({}, {"power_limit_mw": 350_000}, {"mig": 1}):
        fake_nvml(**changes)
        keys.add(this_gpu(H100).key)
    assert len(keys) == 3


def test_the_same_gpu_in_another_slot_has_the_same_key(fake_nvml: FakeNvml) -> None:
    fake_nvml()
    moved = H100._replace(index=3, memory_bytes=H100.memory_bytes - (64 << 20))
    assert this_gpu(moved).key == this_gpu(H100).key


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(), mig=st.booleans())
def test_any_gpu_s_key_can_name_a_folder(fake_nvml: FakeNvml, name: str, mig: bool) -> None:
    fake_nvml(mig=int(mig))
    gpu = this_gpu(H100._replace(name=name))
    assert FOLDER_SAFE.fullmatch(gpu.key)
    assert "--" not in gpu.key


def test_hardware_is_read_back_as_what_it_was(fake_nvml: FakeNvml) -> None:
    fake_nvml()
    for one, device in ((this_cpu(), "cpu"), (this_gpu(H100), "cuda")):
        written = msgspec.json.encode(one)
        read_back: Cpu | Gpu = msgspec.json.decode(written, type=Hardware)
        assert read_back == one
        assert msgspec.json.decode(written)["device"] == device


@pytest.mark.parametrize(
    ("capability", "has_it"),
    [("6.0", False), ("7.0", False), ("7.5", False), ("8.0", True), ("9.0", True), ("12.0", True)],
)
def test_a_gpu_computes_in_bfloat16_from_compute_capability_8_on(
    capability: str, has_it: bool, fake_nvml: FakeNvml
) -> None:
    fake_nvml()
    assert this_gpu(H100._replace(capability=capability)).has_bfloat16 == has_it
