"""The hardware key says what the CPU is, the same way each time."""

import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pynvml
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.nvml import MIG_UUID, NOT_SUPPORTED, UUID, FakeNvml
from variants.host import hardware
from variants.host.cuda_driver import DriverDevice
from variants.host.hardware import Cpu, Gpu, Hardware, this_cpu, this_gpu, usable_cores

FOLDER_SAFE = re.compile(r"[a-z0-9][a-z0-9.-]*")

INTEL = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
stepping\t: 8
flags\t\t: fpu sse sse2 avx avx2 avx512f avx512dq avx512_bf16 avx512_fp16 amx_bf16 amx_tile
bugs\t\t: spectre_v1
power management:

processor\t: 1
vendor_id\t: GenuineIntel
model\t\t: 999
"""
AMD = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7763 64-Core Processor
stepping\t: 1
flags\t\t: fpu sse sse2 avx avx2 vaes
"""
NEOVERSE = """\
processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes sve asimdfhm i8mm bf16
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd40
CPU revision\t: 1
"""
AMPERE = NEOVERSE.replace("0x41", "0xc0").replace("0xd40", "0xac3")


def read(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cpu:
    """Read a written /proc/cpuinfo on a machine with four usable cores."""
    monkeypatch.setattr(hardware, "usable_cores", lambda: 4)
    (folder / "cpuinfo").write_text(text)
    return this_cpu(folder / "cpuinfo")


def test_an_intel_is_told_by_family_model_stepping_and_matrix_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = read(INTEL, tmp_path, monkeypatch)
    assert cpu.key == "cpu-intel-6.143.8-avx2-avx512f-bf16-fp16-amx-bf16-4cores"
    assert cpu.features == ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16")
    assert (cpu.vendor, cpu.family, cpu.model, cpu.stepping) == ("intel", "6", "143", "8")
    assert cpu.name.startswith("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz")
    assert cpu.name.endswith(", 4 cores")
    assert cpu.cores == 4


def test_an_amd_is_told_by_family_model_and_stepping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = read(AMD, tmp_path, monkeypatch)
    assert cpu.key == "cpu-amd-25.1.1-avx2-4cores"
    assert cpu.name.startswith("AMD EPYC 7763 64-Core Processor")


def test_an_arm_shows_its_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = read(NEOVERSE, tmp_path, monkeypatch)
    assert cpu.features == ("sve", "i8mm")
    assert cpu.key.endswith("-sve-i8mm-4cores")


def test_two_arms_have_two_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    neoverse = read(NEOVERSE, tmp_path, monkeypatch).key
    assert neoverse != read(AMPERE, tmp_path, monkeypatch).key


@pytest.mark.parametrize("text", [INTEL, AMD, NEOVERSE, ""], ids=["intel", "amd", "arm", "empty"])
def test_a_key_is_stable_and_can_name_a_file(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = read(text, tmp_path, monkeypatch).key
    assert key == read(text, tmp_path, monkeypatch).key
    assert FOLDER_SAFE.fullmatch(key)


@pytest.mark.parametrize(
    "change",
    [
        ("cpu family\t: 6", "cpu family\t: 7"),
        ("model\t\t: 143", "model\t\t: 106"),
        ("stepping\t: 8", "stepping\t: 6"),
        (" amx_bf16", ""),
        (" avx512f", ""),
    ],
    ids=["family", "model", "stepping", "AMX", "AVX-512"],
)
def test_what_makes_another_machine_makes_another_key(
    change: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = read(INTEL, tmp_path, monkeypatch).key
    assert key != read(INTEL.replace(*change), tmp_path, monkeypatch).key


def test_clock_and_microcode_do_not_make_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = read(INTEL, tmp_path, monkeypatch).key
    moved = INTEL.replace("bugs", "cpu MHz\t\t: 3100.1\nmicrocode\t: 0x2b\nbugs")
    assert key == read(moved, tmp_path, monkeypatch).key


def test_fewer_usable_cores_make_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    four = read(INTEL, tmp_path, monkeypatch)
    monkeypatch.setattr(hardware, "usable_cores", lambda: 2)
    two = this_cpu(tmp_path / "cpuinfo")
    assert two.key == four.key.replace("4cores", "2cores")


def test_a_machine_without_cpuinfo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cpuinfo"):
        this_cpu(tmp_path / "cpuinfo")


def test_this_machine_has_a_key() -> None:
    cpu = this_cpu()
    assert cpu.key.startswith("cpu-")
    assert 1 <= cpu.cores <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000\n", 4),
        ("400000 100000\n", 4),
        ("800000 100000\n", 4),
        ("200000 100000\n", 2),
        ("150000 100000\n", 1),
        ("50000 100000\n", 1),
        ("nonsense\n", 4),
        ("", 4),
    ],
)
def test_a_container_s_quota_limits_the_usable_cores(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path / "cpu.max") == cores


def test_without_a_quota_all_cores_of_the_affinity_are_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 5})
    assert usable_cores(tmp_path / "cpu.max") == 3


@given(vendor=st.text(), family=st.text(), model=st.text())
def test_any_cpu_s_key_can_name_a_folder(
    tmp_path_factory: pytest.TempPathFactory, vendor: str, family: str, model: str
) -> None:
    cpuinfo = tmp_path_factory.getbasetemp() / "cpuinfo"
    lines = f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n"
    cpuinfo.write_text(lines, encoding="utf-8")
    assert FOLDER_SAFE.fullmatch(this_cpu(cpuinfo).key)


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
