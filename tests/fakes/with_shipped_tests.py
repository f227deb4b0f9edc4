"""run_bench.py whose fleet ships the tests' folder too, and has nodes run with invented lanes.

python -m tests.fakes.with_shipped_tests fleet OPTIONS...
"""

import runpy
import sys

from suite.fleet.ray import shipment
from tests.fakes.console import ROOT
from tests.fakes.with_invented_node import PROGRAM

if __name__ == "__main__":
    shipment.CONTENT = (*shipment.CONTENT, "tests")
    shipment.PROGRAM = PROGRAM
    shipment.DEVICES_PROGRAM = (*PROGRAM, "devices")
    sys.argv[0] = str(ROOT / "run_bench.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
