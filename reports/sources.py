"""Where advice comes from: the selections that are known of a device, this one or another."""

from suite.asked import BadRequest
from suite.machine import policy
from variants.hardware import Gpu, Hardware
from variants.known import Here, Known, known
from variants.selection import folders, found
from variants.software import beneath


def of_device(hardware: Hardware) -> tuple[Known, list[str]]:
    """Return what is known of a device of this machine, and a line for each selection refused."""
    kind = "cuda" if isinstance(hardware, Gpu) else "cpu"
    here = Here(hardware, beneath(hardware), policy(kind, hardware.cores).threads)
    selections, refused = found(hardware.key)
    return known(here, selections), refused


def of_hardware(key: str) -> tuple[Known, list[str]]:
    """Return what is known of a device elsewhere, with the software that it was measured with.

    Raises BadRequest where there is no selection of it.
    """
    selections, refused = found(key)
    own = [one for one in selections if one.hardware.key == key]
    if not own:
        keys = sorted({file.stem for folder in folders() for file in folder.glob("*.json")})
        raise BadRequest(
            f"--hardware {key}: there are selections of {', '.join(keys) or 'nothing'}"
        )
    here = Here(own[0].hardware, own[0].software, own[0].threads)
    return known(here, selections), refused
