"""Drives jobs through a cluster: a node for each, and another one where a node is lost."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from suite.failures import RunFailed
from suite.fleet.child_run import Say
from suite.fleet.ray import shipment
from suite.fleet.ray.cluster import Lost, TaskStream
from suite.fleet.ray.jobs import FleetPlan, Job
from suite.fleet.ray.node_run import (
    Begun,
    Content,
    Event,
    Finished,
    ProgressLine,
    OtherHardware,
    Task,
)
from suite.fleet.ray.nodes import Node, fitting
from suite.records.store import StoreError, read

MOST_LOSSES = 3
"""After so many lost nodes a job is given up."""

POLL_S = 0.5


class Nodes(Protocol):
    """What a cluster does for its driver (suite.fleet.ray.cluster.Cluster)."""

    def nodes(self) -> list[Node]:
        """Return the living nodes."""

    def start(self, node: Node, task: Task) -> TaskStream:
        """Have a node do a task."""

    def events(
        self, streams: Sequence[TaskStream], timeout_s: float
    ) -> Sequence[tuple[TaskStream, Event | Lost]]:
        """Return events of tasks."""

    def cancel(self, stream: TaskStream) -> None:
        """Interrupt a task."""


class Orders(NamedTuple):
    """How jobs are done: the plan, the folder of results, and the wait for an absent type.

    `wait_s` is in seconds. `wheels` is a folder of wheels on the nodes.
    """

    plan: FleetPlan
    folder: Path
    wait_s: float
    wheels: str | None = None


@dataclass
class _State:
    """What has become of a job so far; nodes in `unfit` were lost or have another hardware key."""

    job: Job
    waits_since: float
    unfit: set[str] = field(default_factory=set)
    losses: int = 0


@dataclass
class _Running:
    state: _State
    node: Node


def drive(orders: Orders, cluster: Nodes, say: Say) -> dict[str, str]:
    """Do all jobs that are not done; return why jobs failed, by name.

    A job's file is in the folder itself while it grows, and in that of its hardware key once it is
    whole. If this is interrupted, all tasks are, and what came stays.
    """
    waiting = [
        _State(job, time.monotonic()) for job in orders.plan.jobs if not is_done(orders.folder, job)
    ]
    running: dict[TaskStream, _Running] = {}
    failures: dict[str, str] = {}
    try:
        while waiting or running:
            failures |= _start(orders, cluster, waiting, running, say)
            if not running:
                time.sleep(POLL_S if waiting else 0)
                continue
            for stream, event in cluster.events(list(running), POLL_S):
                failures |= _receive(orders, waiting, running, stream, event, say)
    except KeyboardInterrupt:
        for stream in running:
            cluster.cancel(stream)
        raise RunFailed(f"interrupted; fleet --resume {orders.folder} measures the rest") from None
    return failures


def path_of(folder: Path, job: Job) -> Path:
    """Return the path of a job's file while it grows."""
    return folder / f"{job.name}.jsonl"


def is_done(folder: Path, job: Job) -> bool:
    """Whether a job's file is whole, and in the folder of its hardware key."""
    return any(folder.glob(f"*/{job.name}.jsonl"))


def hardware_keys(cluster: Nodes, nodes: Sequence[Node], orders: Orders) -> dict[str, str]:
    """Return the hardware key of each node by its id; a node that can't tell it is left out."""
    running = {
        cluster.start(node, _task(Job(node.type), None, b"", orders)): node for node in nodes
    }
    keys: dict[str, str] = {}
    while running:
        for stream, event in cluster.events(list(running), POLL_S):
            if isinstance(event, Begun):
                keys[running[stream].id] = event.hardware_key
            elif isinstance(event, Finished | Lost):
                del running[stream]
    return keys


def _start(
    orders: Orders,
    cluster: Nodes,
    waiting: list[_State],
    running: dict[TaskStream, _Running],
    say: Say,
) -> dict[str, str]:
    """Start what has a free node; return the jobs that no node will ever take."""
    if not waiting:
        return {}
    absent: dict[str, str] = {}
    nodes = cluster.nodes()
    for state in list(waiting):
        job = state.job
        fit = fitting(job, nodes, state.unfit)
        busy = {each.node.id for each in running.values()}
        free = [node for node in fit if node.id not in busy]
        if free:
            waiting.remove(state)
            so_far = _so_far(path_of(orders.folder, job))
            task = _task(job, _words(job, orders.plan.words), so_far, orders)
            running[cluster.start(free[0], task)] = _Running(state, free[0])
            say(_label(free[0]), f"{job.name} waits for its CPUs and GPUs")
        elif fit:
            state.waits_since = time.monotonic()
        elif time.monotonic() - state.waits_since >= orders.wait_s:
            waiting.remove(state)
            absent[job.name] = _absence(state, nodes, orders.wait_s)
    return absent


def _receive(
    orders: Orders,
    waiting: list[_State],
    running: dict[TaskStream, _Running],
    stream: TaskStream,
    event: Event | Lost,
    say: Say,
) -> dict[str, str]:
    """Act on an event; return why the job failed, if it did."""
    state, node = running[stream].state, running[stream].node
    job = state.job
    path = path_of(orders.folder, job)
    match event:
        case Begun(key):
            say(_label(node), f"{job.name} begins, {key}")
        case OtherHardware(key):
            del running[stream]
            state.unfit.add(node.id)
            state.waits_since = time.monotonic()
            waiting.append(state)
            say(_label(node), f"is {key}, and {job.name} was begun on another hardware key")
        case ProgressLine(text):
            say(_label(node), text)
        case Content(lines):
            with path.open("ab") as file:
                file.write(lines)
        case Finished(error):
            del running[stream]
            if error is not None:
                return {job.name: error}
            return _put_away(path)
        case Lost(reason):
            del running[stream]
            state.losses += 1
            state.unfit.add(node.id)
            if state.losses >= MOST_LOSSES:
                return {job.name: f"lost {state.losses} nodes, the last to {reason}"}
            say(_label(node), f"lost ({reason}); another node of the type goes on")
            state.waits_since = time.monotonic()
            waiting.append(state)
    return {}


def _put_away(path: Path) -> dict[str, str]:
    """Move a file that is whole into the folder of its hardware key; return why it can't be."""
    try:
        key = read(path).header.hardware.key
    except StoreError as error:
        return {path.stem: str(error)}
    folder = path.parent / key
    folder.mkdir(exist_ok=True)
    path.rename(folder / path.name)
    return {}


def _so_far(path: Path) -> bytes:
    """Return the whole lines of a file that was begun, and cut off an unfinished one."""
    if not path.exists():
        return b""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    os.truncate(path, len(whole))
    return whole


def _words(job: Job, words: Sequence[str]) -> list[str]:
    part = ["--part", f"{job.part}/{job.parts}"] if job.parts > 1 else []
    return [*words, *part]


def _task(job: Job, words: Sequence[str] | None, so_far: bytes, orders: Orders) -> Task:
    key = job.hardware_key
    if so_far:
        key = read(path_of(orders.folder, job)).header.hardware.key
    return Task(
        words, job.device, key, so_far, shipment.PROGRAM, shipment.KEY_PROGRAM, orders.wheels
    )


def _label(node: Node) -> str:
    return f"{node.type} {node.address}"


def _absence(state: _State, nodes: Sequence[Node], wait_s: float) -> str:
    types: Mapping[str, None] = dict.fromkeys(node.type for node in nodes)
    offers = f"the cluster offers {', '.join(types) or 'nothing'}"
    what = f"no node offers {state.job.node_type}"
    if state.unfit:
        what = f"no other node of {state.job.node_type} fits"
    return f"{what} after {wait_s:g} s; {offers}"
