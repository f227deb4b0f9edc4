"""The versions of what computes here, read from packages and the driver without importing torch."""

import re
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pynvml

from variants.host.hardware import Gpu, Hardware

PROVIDERS = ("torch", "triton")


def software() -> dict[str, str]:
    """Return the version of everything that computes."""
    versions = {name: _version(name) for name in PROVIDERS}
    cuda = torch_cuda()
    return versions if cuda is None else versions | {"cuda": cuda}


def with_driver(versions: dict[str, str], driver: str | None) -> dict[str, str]:
    """Return versions with that of a GPU's driver, where it is known."""
    return versions if driver is None else versions | {"driver": driver}


def beneath(hardware: Hardware) -> dict[str, str]:
    """Return the version of everything that computes on a device, a GPU's driver included."""
    return with_driver(software(), _driver() if isinstance(hardware, Gpu) else None)


def torch_cuda() -> str | None:
    """Return the CUDA version that torch is built with, read off its files, or None."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return None
    text = Path(found.origin).with_name("version.py").read_text()
    version = re.search(r"^cuda\b.*= *'([^']+)'", text, re.MULTILINE)
    return version[1] if version else None


def _driver() -> str | None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"
