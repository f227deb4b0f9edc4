"""A real Ray cluster on this machine's loopback: nodes of invented types, started and killed."""

import os
from typing import Any
from unittest import mock

LOOPBACK = "127.0.0.1"
ON_LOOPBACK = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else a driver takes another address than loopback
    "RAY_memory_monitor_refresh_ms": "0",  # others may fill this machine's memory
}


class RayNodes:
    """A cluster whose head takes no tasks."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "node_ip_address": LOOPBACK,
                "object_store_memory": 80_000_000,
                "_system_config": {
                    "health_check_period_ms": 500,
                    "health_check_failure_threshold": 3,
                },
            },
        )

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, node_type: str | None = None, **variables: str) -> Any:
        """Start a node with a type and variables in its environment; return it."""
        resources = {} if node_type is None else {f"accelerator_type:{node_type}": 1}
        with mock.patch.dict(os.environ, variables):
            return self._cluster.add_node(
                num_cpus=1,
                resources=resources,
                node_ip_address=LOOPBACK,
                object_store_memory=80_000_000,
            )

    def kill(self, node: Any) -> None:
        """Kill a node as a power cut would."""
        self._cluster.remove_node(node, allow_graceful=False)

    def end(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()
