"""Drives jobs through a cluster: a node for each, and another one where a node is lost."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from suite.failures import RunFailed
from suite.fleet.child_run import Say
from suite.fleet.ray import shipment
from suite.fleet.ray.attempts import MOST_LOSSES, Attempts, Work
from suite.fleet.ray.cluster import NodeLoss, TaskStream
from suite.fleet.ray.files import (
    is_done,
    missing_cells,
    partial_files,
    path_of,
    put_away,
    take_back,
)
from suite.fleet.ray.jobs import FleetPlan, Job, split, write_plan
from suite.fleet.ray.nodes import Node
from suite.fleet.ray.on_node.node_run import (
    Content,
    Event,
    JobEnd,
    JobStart,
    NodeDevice,
    OtherHardware,
    PartialFile,
    ProgressLine,
    Task,
)

POLL_S = 0.5


class Nodes(Protocol):
    """What a cluster does for its driver (suite.fleet.ray.cluster.Cluster)."""

    def nodes(self) -> list[Node]:
        """Return the living nodes."""

    def start(self, node: Node, task: Task) -> TaskStream:
        """Have a node do a task."""

    def events(
        self, streams: Sequence[TaskStream], timeout_s: float
    ) -> Sequence[tuple[TaskStream, Event | NodeLoss]]:
        """Return events of tasks."""

    def cancel(self, stream: TaskStream) -> None:
        """Interrupt a task."""


class Orders(NamedTuple):
    """How jobs are done: the plan, the folder of results, and the wait for an absent type.

    `wait_s` is in seconds. `wheels` is a folder of wheels on the nodes, `budget` the time of a
    node's run as it was typed.
    """

    plan: FleetPlan
    folder: Path
    wait_s: float
    wheels: str | None = None
    budget: str | None = None


def drive(orders: Orders, cluster: Nodes, say: Say) -> Work:
    """Do all jobs that are not done; return what became of them.

    A job's file is in the folder itself while it grows, and in that of its hardware key once its
    run is over. If this is interrupted, all tasks are, and what came stays.
    """
    jobs = [job for job in orders.plan.jobs if not is_done(orders.folder, job)]
    for job in jobs:
        take_back(orders.folder, job)
    work = Work(orders.plan, [Attempts(job, time.monotonic()) for job in jobs])
    try:
        while work.waiting or work.running:
            nodes = cluster.nodes() if work.waiting else []
            for attempts in list(work.waiting):
                _find_node(orders, cluster, nodes, work, attempts, say)
            if not work.running:
                time.sleep(POLL_S if work.waiting else 0)
                continue
            for stream, event in cluster.events(list(work.running), POLL_S):
                _receive(orders, work, stream, event, say)
    except KeyboardInterrupt:
        for stream in work.running:
            cluster.cancel(stream)
        raise RunFailed(f"interrupted; fleet --resume {orders.folder} measures the rest") from None
    return work


def _find_node(
    orders: Orders,
    cluster: Nodes,
    nodes: Sequence[Node],
    work: Work,
    attempts: Attempts,
    say: Say,
) -> None:
    """Start a job on a free node, or split it over nodes; give it up if it lacked one too long."""
    job = attempts.job
    of_type = [node for node in nodes if node.type == job.node_type]
    busy = {node.id for _, node in work.running.values()}
    free = [node for node in of_type if node.id not in busy and not attempts.shuns(node)]
    has_waited = time.monotonic() - attempts.since >= orders.wait_s
    if job.cases_to_split is not None and of_type:
        if has_waited or not attempts.lack_is_told:  # else more nodes may join
            _split(orders, cluster, work, attempts, of_type)
    elif free:
        task = _task(job, orders.plan.words, partial_files(orders.folder, job), orders)
        work.running[cluster.start(free[0], task)] = attempts, free[0]
        work.waiting.remove(attempts)
        say(_label(free[0]), f"{job.name} waits for its CPUs and GPUs")
    elif any(node.id not in attempts.unfit for node in of_type):
        attempts.since = time.monotonic()  # such a node is busy, or was lost a moment ago
    elif has_waited:
        work.waiting.remove(attempts)
        work.failures[job.name] = _lack(attempts, nodes, f"after {orders.wait_s:g} s")
    elif not attempts.lack_is_told:
        attempts.lack_is_told = True
        say(job.name, _lack(attempts, nodes, f"yet; waiting {orders.wait_s:g} s"))


def _split(
    orders: Orders, cluster: Nodes, work: Work, attempts: Attempts, nodes: Sequence[Node]
) -> None:
    """Put parts in a job's place, one for each node of a hardware key."""
    work.replace(attempts, split(attempts.job, hardware_keys(cluster, nodes, orders).values()))
    write_plan(orders.folder, work.plan)


def hardware_keys(cluster: Nodes, nodes: Sequence[Node], orders: Orders) -> dict[str, str]:
    """Return the hardware key of each node by its id; a node that can't tell it is left out."""
    running = {cluster.start(node, _task(Job(node.type), None, [], orders)): node for node in nodes}
    keys: dict[str, str] = {}
    while running:
        for stream, event in cluster.events(list(running), POLL_S):
            if isinstance(event, JobStart):
                keys[running[stream].id] = event.devices[0].hardware_key
            elif isinstance(event, JobEnd | NodeLoss):
                del running[stream]
    return keys


def _receive(
    orders: Orders, work: Work, stream: TaskStream, event: Event | NodeLoss, say: Say
) -> None:
    """Act on an event of a running job."""
    attempts, node = work.running[stream]
    job = attempts.job
    match event:
        case JobStart(devices):
            say(_label(node), f"{job.name} begins, {_in_words(devices)}")
        case ProgressLine(text):
            say(_label(node), text)
        case Content(device, lines):
            with path_of(orders.folder, job, device).open("ab") as file:
                file.write(lines)
        case JobEnd(error):
            del work.running[stream]
            _end(orders, work, job, error)
        case OtherHardware(devices):
            say(_label(node), f"has {_in_words(devices)}, and {job.name} is bound to others")
            attempts.unfit.add(node.id)
            work.try_again(stream)
        case NodeLoss(reason):
            say(_label(node), f"lost: {reason}")
            if attempts.note_loss(node):
                work.try_again(stream)
            else:
                del work.running[stream]
                work.failures[job.name] = f"{MOST_LOSSES} nodes were lost, the last: {reason}"


def _end(orders: Orders, work: Work, job: Job, error: str | None) -> None:
    """Put a job's files away if its run ended well, and note what they lack."""
    error = error or put_away(orders.folder, job)
    if error is not None:
        work.failures[job.name] = error
    elif lacking := missing_cells(orders.folder, job):
        work.unfinished[job.name] = lacking


def _task(
    job: Job, words: Sequence[str] | None, files: Sequence[PartialFile], orders: Orders
) -> Task:
    part = ["--part", f"{job.part}/{job.parts}"] if job.parts > 1 else []
    return Task(
        words=None if words is None else [*words, *part],
        kind=job.kind,
        hardware_key=job.hardware_key,
        files=files,
        budget=() if orders.budget is None else ("--budget", orders.budget),
        program=shipment.PROGRAM,
        devices_program=shipment.DEVICES_PROGRAM,
        wheels=orders.wheels,
    )


def _label(node: Node) -> str:
    return f"{node.type} {node.address}"


def _in_words(devices: Sequence[NodeDevice]) -> str:
    """Return the hardware keys of a node's devices, with how many there are of each."""
    counts = Counter(device.hardware_key for device in devices)
    return ", ".join(f"{count} x {key}" if count > 1 else key for key, count in counts.items())


def _lack(attempts: Attempts, nodes: Sequence[Node], how_long: str) -> str:
    """Return what the cluster has no node for, and what it offers instead."""
    types = dict.fromkeys(node.type for node in nodes)
    what = f"no node offers {attempts.job.node_type}"
    if attempts.unfit:
        what = f"no {attempts.job.node_type} node has the devices that it was begun on"
    return f"{what} {how_long}; the cluster offers {', '.join(types) or 'nothing'}"
