"""The nodes of a cluster, by what Ray lists of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from suite.fleet.ray.jobs import CPU

_ACCELERATOR = "accelerator_type:"


class Node(NamedTuple):
    """A living node: Ray's id of it, its address, its type, and all its CPUs and GPUs."""

    id: str
    address: str
    type: str
    cpus: float
    gpus: float

    @property
    def resources(self) -> dict[str, float]:
        """A trace of its accelerator type, which routes a task to such a node."""
        return {} if self.type == CPU else {f"{_ACCELERATOR}{self.type}": 0.001}


def nodes_of(listing: Sequence[Mapping[str, Any]]) -> list[Node]:
    """Return the living nodes that take tasks, from what `ray.nodes` lists.

    A node's type is its accelerator's, or CPU where it has none.
    """
    nodes = []
    for entry in listing:
        resources = entry["Resources"]
        if not entry["Alive"] or resources.get("CPU", 0) < 1:
            continue
        types = [name for name in resources if name.startswith(_ACCELERATOR)]
        nodes.append(
            Node(
                id=entry["NodeID"],
                address=entry["NodeManagerAddress"],
                type=types[0].removeprefix(_ACCELERATOR) if types else CPU,
                cpus=resources["CPU"],
                gpus=resources.get("GPU", 0),
            )
        )
    return nodes
