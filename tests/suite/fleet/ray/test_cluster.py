"""What Ray is told of a task, by a stand-in that writes it down."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from suite.fleet.ray.cluster import Cluster
from suite.fleet.ray.nodes import Node
from suite.fleet.ray.on_node.node_run import Task, do

NODE = Node("abc", "10.0.0.1", "H100", 16, 8)
TASK = Task((), "cuda", None, (), (), (), (), None)


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options that the last task was started with."""
    written: dict[str, Any] = {}

    def remote(function: object) -> SimpleNamespace:
        assert function is do
        return SimpleNamespace(options=take)

    def take(**changes: Any) -> SimpleNamespace:
        written.update(changes)
        return SimpleNamespace(remote=lambda task: task)

    ray, util = ModuleType("ray"), ModuleType("ray.util")
    strategies = ModuleType("ray.util.scheduling_strategies")
    vars(ray)["remote"] = remote
    vars(strategies)["NodeAffinitySchedulingStrategy"] = lambda node, soft: (node, soft)
    for module in (ray, util, strategies):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return written


def test_a_run_holds_all_cpus_and_gpus_of_its_node(options: dict[str, Any]) -> None:
    Cluster().start(NODE, TASK)
    assert (options["num_cpus"], options["num_gpus"]) == (16, 8)
    assert options["resources"] == {"accelerator_type:H100": 0.001}


def test_a_run_goes_to_its_node_and_no_other_and_ray_repeats_nothing(
    options: dict[str, Any],
) -> None:
    Cluster().start(NODE, TASK)
    assert options["scheduling_strategy"] == ("abc", False)
    assert (options["max_retries"], options["num_returns"]) == (0, "streaming")


def test_telling_a_hardware_key_holds_nothing(options: dict[str, Any]) -> None:
    Cluster().start(NODE, TASK._replace(words=None))
    assert (options["num_cpus"], options["num_gpus"]) == (0, 0)
