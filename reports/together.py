"""Whether results files may be read together: runs of one device, software, driver and policy."""

from collections.abc import Sequence

import msgspec

from reports.versus import is_of_pairs
from suite.asked import BadRequest
from suite.fingerprint import differences
from suite.record import Machine
from suite.store import Results
from variants.software import with_driver


def refuse_mixed(files: Sequence[Results]) -> None:
    """Raise BadRequest unless files are runs of one device, software, driver and policy."""
    first = files[0]
    for file in files:
        if any(is_of_pairs(record) for record in file.records):
            raise BadRequest(f"{file.path}: a file of pairs and no run's")
        if differing := differences(with_its_driver(file.machine), with_its_driver(first.machine)):
            raise BadRequest(
                f"{file.path} beside {first.path}: {'; '.join(differing)}; "
                "name files of one device, software and policy"
            )


def with_its_driver(machine: Machine) -> Machine:
    """Return a machine whose software has a GPU's driver too."""
    driver = machine.circumstances.gpu.get("driver", "unknown")
    software = with_driver(machine.software, None if driver == "unknown" else driver)
    return msgspec.structs.replace(machine, software=software)
