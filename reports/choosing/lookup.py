"""Where advice comes from: the selections that are known of a device, this one or another."""

from suite.conditions.policy import policy
from suite.failures import BadRequest
from variants.host.hardware import Gpu, Hardware
from variants.host.software import beneath
from variants.selection.files import folders, selections_for
from variants.selection.relevance import SortedSelections, TargetDevice, sorted_for


def selections_of_device(hardware: Hardware) -> tuple[SortedSelections, list[str]]:
    """Return what is known of a device of this machine, and a line for each selection refused."""
    kind = "cuda" if isinstance(hardware, Gpu) else "cpu"
    here = TargetDevice(hardware, beneath(hardware), policy(kind, hardware.cores).threads)
    selections, refused = selections_for(hardware.key)
    return sorted_for(here, selections), refused


def selections_of_hardware(key: str) -> tuple[SortedSelections, list[str]]:
    """Return what is known of a device elsewhere, with the software that it was measured with.

    Raises BadRequest where there is no selection of it.
    """
    selections, refused = selections_for(key)
    own = [one for one in selections if one.hardware.key == key]
    if not own:
        keys = sorted({file.stem for folder in folders() for file in folder.glob("*.json")})
        raise BadRequest(
            f"--hardware {key}: there are selections of {', '.join(keys) or 'nothing'}"
        )
    here = TargetDevice(own[0].hardware, own[0].software, own[0].threads)
    return sorted_for(here, selections), refused
