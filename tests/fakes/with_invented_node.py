"""run_bench.py on a node of a fleet: its hardware is the environment's, and its lanes are invented.

python -m tests.fakes.with_invented_node COMMAND OPTIONS...
python -m tests.fakes.with_invented_node key DEVICE

NODE is the name of the node's GPU. A node without it has the CPU alone. UNIT marks the node among
those of its hardware key. Where the file HANGS_WHILE exists, the variant eager hangs at HANGS_AT
queries.
"""

import os
import runpy
import sys
from pathlib import Path

import pynvml

from suite.conditions import device, policy
from suite.fleet.ray import hardware_key
from suite.lanes import handle
from tests.fakes import lane
from tests.fakes.belief import believe_invented_times
from tests.fakes.console import ROOT
from tests.fakes.nvml import Library
from variants.catalog import BY_NAME
from variants.host import cuda_driver
from variants.host.cuda_driver import DriverDevice, NoCuda

PROGRAM = ("-m", "tests.fakes.with_invented_node")
NODE, UNIT, HANGS_WHILE = "INVENTED_NODE", "INVENTED_UNIT", "HANGS_WHILE"
HANGS_AT = 128


def _devices() -> list[DriverDevice]:
    name = os.environ.get(NODE)
    if name is None:
        raise NoCuda("the node has no GPU")
    return [DriverDevice(0, f"Invented {name}", "GPU-0", "9.0", 132, 80 << 30, 50 << 20)]


def put() -> None:
    """Let this process be on the node."""
    pynvml.nvmlLib = Library(uuid="GPU-0")
    vars(device)["torch_cuda"] = lambda: "13.0"
    vars(cuda_driver)["devices"] = _devices
    vars(policy)["unit"] = lambda _: os.environ.get(UNIT, "")
    hangs = Path(os.environ.get(HANGS_WHILE, "/nowhere")).exists()
    faults = [(BY_NAME["eager"].module, HANGS_AT, "Slice", "hang")] if hangs else []
    os.environ.update(lane.environment(faults))
    os.environ["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
    handle.LAUNCH = handle.Launch(lane.COMMAND)
    believe_invented_times()


if __name__ == "__main__":
    put()
    if sys.argv[1] == "key":
        hardware_key.main(sys.argv[2])
    else:
        sys.argv[0] = str(ROOT / "run_bench.py")
        runpy.run_path(sys.argv[0], run_name="__main__")
