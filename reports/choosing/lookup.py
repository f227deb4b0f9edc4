"""Finds the selections that advise on a device: of this machine, or of another."""

from suite.conditions.policy import policy
from suite.failures import BadRequest
from variants.host.hardware import Gpu, Hardware
from variants.host.software import software_for
from variants.selection.files import folders, selections_for
from variants.selection.relevance import SortedSelections, TargetDevice, sort_selections


def selections_of_device(hardware: Hardware) -> tuple[SortedSelections, list[str]]:
    """Return the selections for a device of this machine, and a line for each refused file."""
    kind = "cuda" if isinstance(hardware, Gpu) else "cpu"
    here = TargetDevice(hardware, software_for(hardware), policy(kind, hardware.cores).threads)
    selections, refused = selections_for(hardware.key)
    return sort_selections(here, selections), refused


def selections_of_hardware(name: str) -> tuple[SortedSelections, list[str]]:
    """Return the selections for another device, and a line for each refused file.

    `name` is the device's hardware key, or a part of it that no other selection's key has. They
    are judged for the software and threads that the device was measured with. Raises BadRequest
    unless the name fits one selection.
    """
    key = _whole_key(name)
    selections, refused = selections_for(key)
    of_device = [selection for selection in selections if selection.hardware.key == key]
    if not of_device:
        raise BadRequest(f"--hardware {name}: {'; '.join(refused)}")
    here = TargetDevice(of_device[0].hardware, of_device[0].software, of_device[0].threads)
    return sort_selections(here, selections), refused


def _whole_key(name: str) -> str:
    keys = sorted({file.stem for folder in folders() for file in folder.glob("*.json")})
    fitting = [key for key in keys if name in key]
    if name in keys:
        return name
    if len(fitting) == 1:
        return fitting[0]
    what = "it fits" if fitting else "there are"
    listed = ", ".join(fitting or keys) or "nothing"
    raise BadRequest(f"--hardware {name}: {what} the selections of {listed}")
