"""Versions are those of the installed packages, and of a GPU's driver where there is one."""

from importlib import metadata

import pytest
import torch

from tests.fakes.nvml import FakeNvml
from tests.variants.selections import a_gpu
from variants.host import software
from variants.host.hardware import this_cpu

GPU = a_gpu()


def test_versions_are_those_of_the_installed_packages() -> None:
    installed = {found.metadata["Name"].lower() for found in metadata.distributions()}
    versions = software.software()
    assert versions.pop("cuda", None) == torch.version.cuda
    assert versions == {
        name: metadata.version(name) if name in installed else "absent"
        for name in ("torch", "triton")
    }


def test_a_gpus_software_has_its_driver_and_a_cpus_has_none(fake_nvml: FakeNvml) -> None:
    library = fake_nvml()
    assert software.software_for(GPU) == software.software() | {"driver": "580.12"}
    assert library.started == library.shut_down == 1
    assert "driver" not in software.software_for(this_cpu())


def test_a_driver_that_nvml_does_not_tell_is_left_out(
    fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvml(refuses={"nvmlSystemGetDriverVersion": 3})
    assert "driver" not in software.software_for(GPU)
    fake_nvml(refuses={"nvmlInitWithFlags": 9})
    assert "driver" not in software.software_for(GPU)
