"""An existing Ray cluster: its nodes, and tasks on them that stream what happens.

Ray is imported here alone, and only where a cluster is used.
"""

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from suite.failures import BadRequest
from suite.fleet.ray.nodes import Node, nodes_of
from suite.fleet.ray.on_node.node_run import Event, Task, do
from variants.host.installation import install_command

CONNECT_S = 5.0

_ENVIRONMENT = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Else an older Ray hides the GPUs from a task that holds none, and only tells what there is."""


class NodeLoss(NamedTuple):
    """A node or its worker died while it did a task."""

    reason: str


TaskStream = Any
"""A task on a node, from which its events come."""


class Cluster:
    """A cluster that this process is connected to."""

    def nodes(self) -> list[Node]:
        """Return the living nodes that take tasks."""
        import ray

        return nodes_of(ray.nodes())

    def start(self, node: Node, task: Task) -> TaskStream:
        """Have a node do a task as soon as all its CPUs and GPUs are free, which it then holds.

        A task without words holds nothing.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        alone = task.words is not None
        remote = ray.remote(do).options(
            num_cpus=node.cpus if alone else 0,
            num_gpus=node.gpus if alone else 0,
            resources=node.resources,
            max_retries=0,
            num_returns="streaming",
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            name=f"alibi-bench on {node.type}",
        )
        return remote.remote(task)

    def events(
        self, streams: Sequence[TaskStream], timeout_s: float
    ) -> list[tuple[TaskStream, Event | NodeLoss]]:
        """Return the next event of each stream that has one, after `timeout_s` seconds at most."""
        import ray

        ready, _ = ray.wait(list(streams), num_returns=1, timeout=timeout_s)
        return [(stream, _next_event(stream)) for stream in ready]

    def cancel(self, stream: TaskStream) -> None:
        """Interrupt a task; its run ends cleanly."""
        import ray
        from ray.exceptions import RayError

        with suppress(RayError, ValueError):
            ray.cancel(stream)


def _next_event(stream: TaskStream) -> Event | NodeLoss:
    import ray
    from ray.exceptions import RayError

    try:
        event: Event = ray.get(next(stream))
        return event
    except StopIteration:
        return NodeLoss("the task ended without a word")
    except RayError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return NodeLoss(f"{type(error).__name__}: {lines[0]}"[:300])


@contextmanager
def connect(address: str, code: Path) -> Iterator[Cluster]:
    """Connect to the cluster at `address`, which gets the folder `code`, while the block runs.

    Raises BadRequest without Ray, or where no cluster answers.
    """
    _check_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise BadRequest(f"fleet needs Ray: {install_command('fleet', 'ray')}") from None
    handlers = {stop: signal.getsignal(stop) for stop in (signal.SIGTERM, signal.SIGINT)}
    try:
        ray.init(
            address=address,
            runtime_env={"working_dir": str(code), "env_vars": _ENVIRONMENT},
            logging_level="ERROR",
            log_to_driver=False,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        words = " ".join(str(error).split())[:300]
        raise BadRequest(f"--address {address}: {words}; start one with `ray start`") from None
    for stop, handler in handlers.items():
        signal.signal(stop, handler)
    try:
        yield Cluster()
    finally:
        ray.shutdown()


def _local_cluster() -> str:
    """Return the address of the cluster that this machine joined last, from Ray's note of it."""
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    if not note.exists():
        raise BadRequest("--address auto: this machine is in no Ray cluster; give HOST:PORT")
    return note.read_text().strip()


def _check_answers(address: str) -> None:
    """Raise BadRequest if nothing listens at HOST:PORT: Ray would try for a minute."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "") or _local_cluster()
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise BadRequest(f"--address {address}: give auto, or HOST:PORT of the head node's Ray")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        raise BadRequest(
            f"--address {address}: nothing answers ({error}); `ray start --head` prints an address"
        ) from None
