"""Nodes are read from what Ray lists: living ones that take tasks, by the type of accelerator."""

from typing import Any

from suite.fleet.ray.nodes import Node, nodes_of


def entry(name: str, resources: dict[str, float], *, alive: bool = True) -> dict[str, Any]:
    return {
        "NodeID": name,
        "NodeManagerAddress": f"10.0.0.{name}",
        "Alive": alive,
        "Resources": resources,
    }


def test_a_nodes_type_is_its_accelerators_or_cpu() -> None:
    listing = [
        entry("1", {"CPU": 16.0, "GPU": 8.0, "memory": 1e9, "accelerator_type:H100": 1.0}),
        entry("2", {"CPU": 4.0}),
    ]
    assert nodes_of(listing) == [
        Node("1", "10.0.0.1", "H100", 16.0, 8.0),
        Node("2", "10.0.0.2", "CPU", 4.0, 0),
    ]


def test_dead_nodes_and_a_head_without_cpus_take_no_tasks() -> None:
    assert nodes_of([entry("1", {"CPU": 4.0}, alive=False), entry("2", {"memory": 1e9})]) == []


def test_a_task_is_routed_by_a_trace_of_the_type_that_many_can_hold() -> None:
    assert Node("1", "10.0.0.1", "H100", 1, 1).resources == {"accelerator_type:H100": 0.001}
    assert Node("1", "10.0.0.1", "CPU", 1, 0).resources == {}
