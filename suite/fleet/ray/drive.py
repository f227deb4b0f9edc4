"""Drives jobs through a cluster: a node for each, and another one where a node is lost."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from suite.failures import RunFailed
from suite.fleet.child_run import Say
from suite.fleet.ray import shipment
from suite.fleet.ray.cluster import Lost, TaskStream
from suite.fleet.ray.files import is_done, path_of, put_away, so_far
from suite.fleet.ray.jobs import FleetPlan, Job
from suite.fleet.ray.node_run import (
    Begun,
    Content,
    Event,
    Finished,
    OtherHardware,
    ProgressLine,
    Task,
)
from suite.fleet.ray.nodes import Node
from suite.records.store import read

MOST_LOSSES = 3
"""After so many lost nodes a job is given up."""

RETURN_S = 15.0
"""So long a node that was lost gets no second try by the same job."""

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
class _Attempts:
    """What has become of a job so far.

    `since` is when it began to lack a node, `unfit` are nodes of another hardware key, `lost_at`
    says when nodes were lost. Times are of the monotonic clock, in seconds.
    """

    job: Job
    since: float
    unfit: set[str] = field(default_factory=set)
    lost_at: dict[str, float] = field(default_factory=dict)
    losses: int = 0

    def shuns(self, node: Node) -> bool:
        """Whether the job can't run on a node now: it is unfit, or was lost a moment ago.

        A node whose worker died may be well again; a cluster takes seconds to notice a dead one.
        """
        lost_at = self.lost_at.get(node.id)
        return node.id in self.unfit or (
            lost_at is not None and time.monotonic() - lost_at < RETURN_S
        )


@dataclass
class _Work:
    """The jobs that wait for a node, those that run, and why others failed, by name."""

    waiting: list[_Attempts]
    running: dict[TaskStream, tuple[_Attempts, Node]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def drive(orders: Orders, cluster: Nodes, say: Say) -> dict[str, str]:
    """Do all jobs that are not done; return why jobs failed, by name.

    A job's file is in the folder itself while it grows, and in that of its hardware key once its
    run is over. If this is interrupted, all tasks are, and what came stays.
    """
    jobs = [job for job in orders.plan.jobs if not is_done(orders.folder, job)]
    work = _Work([_Attempts(job, time.monotonic()) for job in jobs])
    try:
        while work.waiting or work.running:
            if work.waiting:
                _start(orders, cluster, work, say)
            if not work.running:
                time.sleep(POLL_S if work.waiting else 0)
                continue
            for stream, event in cluster.events(list(work.running), POLL_S):
                _receive(orders, work, stream, event, say)
    except KeyboardInterrupt:
        for stream in work.running:
            cluster.cancel(stream)
        raise RunFailed(f"interrupted; fleet --resume {orders.folder} measures the rest") from None
    return work.failures


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


def _start(orders: Orders, cluster: Nodes, work: _Work, say: Say) -> None:
    """Start the jobs that have a free node; give up those that lacked one for too long."""
    nodes = cluster.nodes()
    for attempts in list(work.waiting):
        job = attempts.job
        of_type = [node for node in nodes if node.type == job.node_type]
        busy = {node.id for _, node in work.running.values()}
        free = [node for node in of_type if node.id not in busy and not attempts.shuns(node)]
        if free:
            content = so_far(path_of(orders.folder, job))
            task = _task(job, _words(job, orders.plan.words), content, orders)
            work.running[cluster.start(free[0], task)] = attempts, free[0]
            work.waiting.remove(attempts)
            say(_label(free[0]), f"{job.name} waits for its CPUs and GPUs")
        elif any(node.id not in attempts.unfit for node in of_type):
            attempts.since = time.monotonic()  # such a node is busy, or was lost a moment ago
        elif time.monotonic() - attempts.since >= orders.wait_s:
            work.waiting.remove(attempts)
            work.failures[job.name] = _absence(attempts, nodes, orders.wait_s)


def _receive(
    orders: Orders, work: _Work, stream: TaskStream, event: Event | Lost, say: Say
) -> None:
    """Act on an event of a running job."""
    attempts, node = work.running[stream]
    job = attempts.job
    match event:
        case Begun(key):
            say(_label(node), f"{job.name} begins, {key}")
        case ProgressLine(text):
            say(_label(node), text)
        case Content(lines):
            with path_of(orders.folder, job).open("ab") as file:
                file.write(lines)
        case Finished(error):
            del work.running[stream]
            error = error or put_away(path_of(orders.folder, job))
            if error is not None:
                work.failures[job.name] = error
        case OtherHardware(key):
            say(_label(node), f"is {key}, and {job.name} is bound to another hardware key")
            attempts.unfit.add(node.id)
            _try_again(work, stream)
        case Lost(reason):
            say(_label(node), f"lost: {reason}")
            attempts.lost_at[node.id] = time.monotonic()
            attempts.losses += 1
            if attempts.losses < MOST_LOSSES:
                _try_again(work, stream)
            else:
                del work.running[stream]
                work.failures[job.name] = f"{MOST_LOSSES} nodes were lost, the last: {reason}"


def _try_again(work: _Work, stream: TaskStream) -> None:
    """Let a job wait for another node."""
    attempts, _ = work.running.pop(stream)
    attempts.since = time.monotonic()
    work.waiting.append(attempts)


def _words(job: Job, words: Sequence[str]) -> list[str]:
    part = ["--part", f"{job.part}/{job.parts}"] if job.parts > 1 else []
    return [*words, *part]


def _task(job: Job, words: Sequence[str] | None, content: bytes, orders: Orders) -> Task:
    key = job.hardware_key
    if content:
        key = read(path_of(orders.folder, job)).header.hardware.key
    return Task(
        words, job.device, key, content, shipment.PROGRAM, shipment.KEY_PROGRAM, orders.wheels
    )


def _label(node: Node) -> str:
    return f"{node.type} {node.address}"


def _absence(attempts: _Attempts, nodes: Sequence[Node], wait_s: float) -> str:
    types = dict.fromkeys(node.type for node in nodes)
    offers = f"the cluster offers {', '.join(types) or 'nothing'}"
    what = f"no node offers {attempts.job.node_type}"
    if attempts.unfit:
        what = f"no {attempts.job.node_type} node is of the hardware key that it was begun on"
    return f"{what} after {wait_s:g} s; {offers}"
