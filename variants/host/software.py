"""Versions of the software that computes, read from packages and driver without importing torch."""

import re
from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from variants.catalog import PEERS
from variants.host.hardware import Gpu, Hardware
from variants.host.nvml_bindings import NoNvml, open_nvml, read, text

FRAMEWORKS = ("torch", "triton")


def software() -> dict[str, str]:
    """Return the versions of torch, triton and, where torch has it, CUDA."""
    versions = {name: _version(name) for name in FRAMEWORKS}
    cuda = torch_cuda()
    return versions if cuda is None else versions | {"cuda": cuda}


def is_installed(package: str) -> bool:
    """Return whether a package is installed, by the name that pip installs it by."""
    return _version(package) != "absent"


def peer_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages that the peers among some variants need."""
    packages = {variant.package for variant in PEERS if variant.name in set(names)}
    return {package: _version(package) for package in sorted(packages)}


def with_driver(versions: dict[str, str], driver: str | None) -> dict[str, str]:
    """Return `versions` with the GPU driver's version added, unless it is None."""
    return versions if driver is None else versions | {"driver": driver}


def software_for(hardware: Hardware) -> dict[str, str]:
    """Return the versions of all software that computes on a device, with a GPU's driver."""
    return with_driver(software(), _driver() if isinstance(hardware, Gpu) else None)


def torch_cuda() -> str | None:
    """Return the CUDA version that torch is built with, read from torch's files, or None."""
    module = find_spec("torch")
    if module is None or module.origin is None:
        return None
    text = Path(module.origin).with_name("version.py").read_text()
    version = re.search(r"^cuda\b.*= *'([^']+)'", text, re.MULTILINE)
    return version[1] if version else None


def _driver() -> str | None:
    try:
        with open_nvml() as pynvml:
            return read(lambda: text(pynvml.nvmlSystemGetDriverVersion()))
    except NoNvml:
        return None


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"
