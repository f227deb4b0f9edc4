"""What a fleet costs beside its runs: 500 jobs through three local Ray nodes, each run a stand-in.

    python benchmarks/overhead/fleet_overhead.py [JOBS]

A stand-in writes a results file of three cells and ends. Prints the time a job takes in all, of
which the stand-in's two processes are measured apart, and the driver's memory before and after.
Needs the extra `fleet`.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from suite.fleet.ray import shipment
from suite.fleet.ray.cluster import connect
from suite.fleet.ray.drive import Orders, drive
from suite.fleet.ray.jobs import FleetPlan, Job
from tests.fakes.ray_nodes import ON_LOOPBACK, RayNodes
from tests.records import VARIANTS, a_case, a_machine, a_time, write

STAND_IN = """
import shutil, sys
if sys.argv[1] == "devices":
    print("cpu cpu-invented-2cores")
else:
    shutil.copy("whole.jsonl", sys.argv[sys.argv.index("--out") + 1])
    print("done", file=sys.stderr)
"""
NODES = 3


def main(count: int) -> None:
    """Drive so many jobs and print what they cost."""
    os.environ.update(ON_LOOPBACK)
    nodes = RayNodes()
    try:
        for _ in range(NODES):
            nodes.add()
        with tempfile.TemporaryDirectory() as folder, shipment.shipment() as code:
            (code / "stand_in.py").write_text(STAND_IN)
            _write_results(code / "whole.jsonl")
            shipment.PROGRAM = ("stand_in.py",)
            shipment.DEVICES_PROGRAM = ("stand_in.py", "devices")
            _measure(nodes.address, code, Path(folder), count)
    finally:
        nodes.end()


def _write_results(path: Path) -> None:
    write(path, a_machine(), *(a_time(a_case(), name) for name in VARIANTS))


def _measure(address: str, code: Path, folder: Path, count: int) -> None:
    jobs = tuple(Job("CPU", part, count, "cpu-invented-2cores") for part in range(1, count + 1))
    with connect(address, code) as cluster:
        drive(_orders(jobs[:NODES], folder), cluster, _say_nothing)  # workers start here
        before, began = _memory_mib(), time.monotonic()
        failures = drive(_orders(jobs, folder), cluster, _say_nothing).failures
        seconds, after = time.monotonic() - began, _memory_mib()
    size = sum(file.stat().st_size for file in code.rglob("*") if file.is_file())
    print(f"{count - NODES} jobs, {NODES} nodes, {os.cpu_count()} cores, {len(failures)} failed")
    for name, why in list(failures.items())[:5]:
        print(f"{name}: {why}")
    print(f"{seconds:.1f} s: {seconds * NODES / (count - NODES):.3f} s a job on its node")
    print(f"the stand-in's processes alone, one node: {_alone_s(code):.3f} s a job")
    print(f"driver: {before:.0f} MiB before, {after:.0f} MiB after; code {size / 2**20:.1f} MiB")
    print(f"{len(list(folder.glob('*/*.jsonl')))} whole files")


def _orders(jobs: tuple[Job, ...], folder: Path) -> Orders:
    return Orders(FleetPlan((), jobs), folder, wait_s=10)


def _say_nothing(_who: str, _line: str) -> None:
    """Show nothing."""


def _memory_mib() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def _alone_s(code: Path, times: int = 10) -> float:
    began = time.monotonic()
    for _ in range(times):
        devices = [sys.executable, "stand_in.py", "devices"]
        subprocess.run(devices, cwd=code, check=True, stdout=subprocess.DEVNULL)
        out = ["run", "--out", os.devnull]
        run = [sys.executable, "stand_in.py", *out]
        subprocess.run(run, cwd=code, check=True, stderr=subprocess.DEVNULL)
    return (time.monotonic() - began) / times


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
