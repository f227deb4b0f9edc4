"""run_bench.py on a machine with two invented GPUs of one model, the second hot and slow.

python -m tests.fakes.with_two_gpus COMMAND OPTIONS...
"""

import os
import runpy
import sys
from typing import Any

import pynvml

from suite.conditions import device
from suite.fleet import child_run
from suite.lanes import handle
from tests.fakes import gpu_lane
from tests.fakes.belief import believe_invented_times
from tests.fakes.console import ROOT
from tests.fakes.nvml import SUCCESS, Library
from variants.host import cuda_driver
from variants.host.cuda_driver import DriverDevice

PROGRAM = ("-m", "tests.fakes.with_two_gpus")
GPUS = [
    DriverDevice(index, "Invented GPU", f"GPU-{index}", "9.0", 132, 80 << 30, 50 << 20)
    for index in range(2)
]


class TwoGpus(Library):
    """A driver with two whole GPUs; the second one's clock is low because it is hot."""

    def nvmlDeviceGetHandleByUUID(self, uuid: Any, handle: Any) -> int:  # noqa: N802
        """Find each of the two, and note which."""
        self.asked_for.append(uuid.value.decode())
        self.uuid = self.asked_for[-1]
        return int(self.__getattr__("nvmlDeviceGetHandleByUUID")(uuid, handle))

    def nvmlDeviceGetClockInfo(self, _handle: Any, _domain: Any, mhz: Any) -> int:  # noqa: N802
        """Tell of a high clock, or of a low one."""
        mhz._obj.value = 1200 if self.uuid == "GPU-1" else 1980
        return SUCCESS

    def nvmlDeviceGetCurrentClocksEventReasons(self, _handle: Any, bits: Any) -> int:  # noqa: N802
        """Tell that the power cap lowers the second one's clock."""
        bits._obj.value = 0x4 if self.uuid == "GPU-1" else 0
        return SUCCESS


def environment() -> dict[str, str]:
    """Return the environment that the program and its lanes need, in whatever folder they start."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    return os.environ | {"FAULTS": "[]", "PYTHONPATH": os.pathsep.join([*packages, str(ROOT)])}


def put() -> None:
    """Let this process have the two GPUs."""
    pynvml.nvmlLib = TwoGpus()
    vars(device)["torch_cuda"] = lambda: "13.0"
    vars(cuda_driver)["devices"] = lambda: GPUS
    handle.LAUNCH = handle.Launch(gpu_lane.COMMAND)
    child_run.PROGRAM = PROGRAM
    believe_invented_times()


if __name__ == "__main__":
    put()
    sys.argv[0] = str(ROOT / "run_bench.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
