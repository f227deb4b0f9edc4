"""What has become of a fleet's jobs: those that wait, those that run, and how others ended."""

import time
from dataclasses import dataclass, field

from suite.fleet.ray.cluster import TaskStream
from suite.fleet.ray.jobs import FleetPlan, Job
from suite.fleet.ray.nodes import Node

MOST_LOSSES = 3
"""After so many lost nodes a job is given up."""

RETURN_S = 15.0
"""So long a node that was lost gets no second try by the same job."""


@dataclass
class Attempts:
    """What has become of a job so far.

    `since` is when it began to lack a node, and `lack_is_told` whether the user knows. `unfit` are
    nodes of other hardware, `lost_at` says when nodes were lost. Times are of the monotonic clock,
    in seconds.
    """

    job: Job
    since: float
    lack_is_told: bool = False
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

    def note_loss(self, node: Node) -> bool:
        """Note that a node was lost; return whether the job may try another one."""
        self.lost_at[node.id] = time.monotonic()
        self.losses += 1
        return self.losses < MOST_LOSSES


@dataclass
class Work:
    """The jobs of a plan: those that wait for a node, those that run, and why others failed.

    `failures` are by name; `unfinished` has the cells that the files of a job lack, by name.
    """

    plan: FleetPlan
    waiting: list[Attempts]
    running: dict[TaskStream, tuple[Attempts, Node]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    unfinished: dict[str, int] = field(default_factory=dict)

    def try_again(self, stream: TaskStream) -> None:
        """Let the job of a task wait for another node."""
        attempts, _ = self.running.pop(stream)
        attempts.since = time.monotonic()
        self.waiting.append(attempts)

    def replace(self, attempts: Attempts, parts: list[Job]) -> None:
        """Put the parts of a job in its place, in the plan too."""
        jobs: list[Job] = []
        for job in self.plan.jobs:
            jobs += parts if job == attempts.job else [job]
        self.plan = FleetPlan(self.plan.words, tuple(jobs))
        self.waiting.remove(attempts)
        now = time.monotonic()
        self.waiting += [Attempts(part, now) for part in parts]
