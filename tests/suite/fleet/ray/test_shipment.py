"""What goes to the nodes: enough to run there, named by the commit that it is of."""

import json
import subprocess
import sys

from suite.conditions.measured_code import measured_code
from suite.fleet.ray.on_node.node_run import COUNT, count_files
from suite.fleet.ray.shipment import DEVICES_PROGRAM, PROGRAM, shipment


def test_the_shipment_knows_its_commit_counts_its_files_and_runs() -> None:
    with shipment() as code:
        noted = json.loads((code / "measured-code.json").read_text())
        assert noted["commit"] == measured_code().commit
        assert count_files(code) == int((code / COUNT).read_text()) + 1
        for program in ((*PROGRAM, "run", "--help"), ("run_bench.py", "run", "--help")):
            subprocess.run([sys.executable, *program], cwd=code, check=True, capture_output=True)
        told = subprocess.run(
            [sys.executable, *DEVICES_PROGRAM, "cpu"],
            cwd=code,
            check=True,
            capture_output=True,
            text=True,
        )
        assert told.stdout.startswith("cpu cpu-")
    assert not code.exists()
