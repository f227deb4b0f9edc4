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


def selections_of_hardware(key: str) -> tuple[SortedSelections, list[str]]:
    """Return the selections for another device's key, and a line for each refused file.

    They are judged for the software and threads that the device was measured with. Raises
    BadRequest if no selection has this key.
    """
    selections, refused = selections_for(key)
    of_device = [selection for selection in selections if selection.hardware.key == key]
    if not of_device:
        keys = sorted({file.stem for folder in folders() for file in folder.glob("*.json")})
        raise BadRequest(
            f"--hardware {key}: there are selections of {', '.join(keys) or 'nothing'}"
        )
    here = TargetDevice(of_device[0].hardware, of_device[0].software, of_device[0].threads)
    return sort_selections(here, selections), refused
