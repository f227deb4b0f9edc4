"""run_bench.py on a node of a fleet: its hardware is the environment's, and its lanes are invented.

python -m tests.fakes.with_invented_node COMMAND OPTIONS...
python -m tests.fakes.with_invented_node devices KIND

NODE is the name of the node's GPUs, and GPUS how many it has, one by default. A node without a name
has the CPU alone. UNIT marks the node among those of its hardware key. Where the file HANGS_WHILE
exists, the variant eager hangs at HANGS_AT queries.
"""

import os
import runpy
import sys
from pathlib import Path

import pynvml

from suite.conditions import device, policy
from suite.fleet import child_run
from suite.fleet.ray.on_node import devices
from suite.lanes import handle
from tests.fakes import lane
from tests.fakes.belief import believe_invented_times
from tests.fakes.console import ROOT
from tests.fakes.with_two_gpus import TwoGpus
from variants.catalog import BY_NAME
from variants.host import cuda_driver
from variants.host.cuda_driver import DriverDevice, NoCuda

PROGRAM = ("-m", "tests.fakes.with_invented_node")
NODE, GPUS, UNIT, HANGS_WHILE = "INVENTED_NODE", "INVENTED_GPUS", "INVENTED_UNIT", "HANGS_WHILE"
HANGS_AT = 128


def _gpus() -> list[DriverDevice]:
    name = os.environ.get(NODE)
    if name is None:
        raise NoCuda("the node has no GPU")
    return [
        DriverDevice(index, f"Invented {name}", f"GPU-{index}", "9.0", 132, 80 << 30, 50 << 20)
        for index in range(int(os.environ.get(GPUS, "1")))
    ]


def _unit(uuid: str | None) -> str:
    """Return the node's mark, and behind it the GPU if it is not the first."""
    mark = os.environ.get(UNIT, "")
    return mark if uuid in {None, "GPU-0"} else f"{mark} {uuid}"


def put() -> None:
    """Let this process be on the node."""
    pynvml.nvmlLib = TwoGpus()
    vars(device)["torch_cuda"] = lambda: "13.0"
    vars(cuda_driver)["devices"] = _gpus
    vars(policy)["unit"] = _unit
    hangs = Path(os.environ.get(HANGS_WHILE, "/nowhere")).exists()
    faults = [(BY_NAME["eager"].module, HANGS_AT, "Slice", "hang")] if hangs else []
    os.environ.update(lane.environment(faults))
    os.environ["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
    handle.LAUNCH = handle.Launch(lane.COMMAND)
    child_run.PROGRAM = PROGRAM
    believe_invented_times()


if __name__ == "__main__":
    put()
    if sys.argv[1] == "devices":
        devices.main(sys.argv[2])
    else:
        sys.argv[0] = str(ROOT / "run_bench.py")
        runpy.run_path(sys.argv[0], run_name="__main__")
