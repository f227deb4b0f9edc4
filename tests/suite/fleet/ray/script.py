"""A cluster whose tasks go as written, and what happens on its nodes."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from suite.fleet.ray.cluster import NodeLoss
from suite.fleet.ray.drive import Orders, drive
from suite.fleet.ray.jobs import FleetPlan, Job
from suite.fleet.ray.nodes import Node
from suite.fleet.ray.on_node.node_run import (
    Content,
    Event,
    JobEnd,
    JobStart,
    NodeDevice,
    OtherHardware,
    ProgressLine,
    Task,
)
from suite.records.record import Record, RunHeader
from tests.records import a_case, a_machine, a_plan, a_time

KEY = "invented-2cores"
CPU, GPU, SECOND_GPU = (NodeDevice(name, KEY) for name in ("cpu", "cuda:0", "cuda:1"))
FIRST, SECOND = (Node(name, f"10.0.0.{name}", "H100", 8, 1) for name in "12")
HOST = Node("3", "10.0.0.3", "CPU", 8, 0)
ScriptStep = Event | NodeLoss | Callable[[], None]


def header_of(device: NodeDevice) -> RunHeader:
    """Return the header of a run that is to measure two cells on a device."""
    plan = msgspec.structs.replace(a_plan(variants=("eager", "flex")), device=device.name)
    return a_machine(plan, key=device.hardware_key)


def lines(device: NodeDevice, *records: Record) -> Content:
    return Content(device.name, b"".join(msgspec.json.encode(each) + b"\n" for each in records))


HEADER = lines(GPU, header_of(GPU))
FIRST_CELL, SECOND_CELL = (lines(GPU, a_time(a_case(), name)) for name in ("eager", "flex"))


def good_run(*devices: NodeDevice) -> tuple[ScriptStep, ...]:
    """Return what happens on a node on which all is well."""
    cells = [a_time(a_case(), name) for name in ("eager", "flex")]
    contents = [lines(each, header_of(each), *cells) for each in devices]
    return (JobStart(devices), *contents, ProgressLine("[2/2 cells]"), JobEnd(None))


class Script:
    """A cluster whose tasks go as written, by node; no node may have two at once."""

    def __init__(self, nodes: Sequence[Node], **by_node: Iterable[Sequence[ScriptStep]]) -> None:
        self.all_nodes = list(nodes)
        self.tasks: list[tuple[Node, Task]] = []
        self.cancelled: list[int] = []
        self._by_node = {name.removeprefix("n"): list(each) for name, each in by_node.items()}
        self._streams: dict[int, list[ScriptStep]] = {}
        self._busy: dict[str, int] = {}

    def nodes(self) -> list[Node]:
        return self.all_nodes

    def start(self, node: Node, task: Task) -> int:
        self.tasks.append((node, task))
        stream = len(self.tasks)
        self._streams[stream] = list(self._by_node[node.id].pop(0))
        assert node.id not in self._busy, f"two tasks on node {node.id}"
        self._busy[node.id] = stream
        return stream

    def events(
        self, streams: Sequence[int], timeout_s: float
    ) -> list[tuple[int, Event | NodeLoss]]:
        (stream, *_) = streams
        happening = self._streams[stream].pop(0)
        if callable(happening):
            happening()
            return []
        if isinstance(happening, JobEnd | NodeLoss | OtherHardware):
            self._busy = {name: each for name, each in self._busy.items() if each != stream}
        return [(stream, happening)]

    def cancel(self, stream: int) -> None:
        self.cancelled.append(stream)


def orders(folder: Path, *jobs: Job) -> Orders:
    return Orders(FleetPlan(("--passes", "1"), jobs), folder, wait_s=60)


def failures(orders: Orders, cluster: Script) -> dict[str, str]:
    """Drive jobs in silence and return why jobs failed."""
    return drive(orders, cluster, lambda _who, _line: None).failures
