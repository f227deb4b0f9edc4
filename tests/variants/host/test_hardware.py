"""The hardware key says what the CPU is, the same way each time."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from variants.host import hardware
from variants.host.hardware import Cpu, this_cpu, usable_cores

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
