"""The jobs of a fleet: a run on a node of a wanted type, or a part of its cases."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from suite.failures import BadRequest

CPU = "CPU"
"""The type of nodes without an accelerator."""

PLAN_FILE = "fleet.json"


class Job(msgspec.Struct, frozen=True):
    """A run that a node of some type is to do: all cases, or part `part` of `parts`.

    A `hardware_key` holds it to nodes of this key, which the parts of one plan need.
    """

    node_type: str
    part: int = 1
    parts: int = 1
    hardware_key: str | None = None

    @property
    def name(self) -> str:
        """The name of its results file."""
        if self.parts == 1:
            return self.node_type
        return f"{self.node_type}-{self.hardware_key}-{self.part}-of-{self.parts}"

    @property
    def device(self) -> str:
        """The device that it measures on its node."""
        return "cpu" if self.node_type == CPU else "cuda"


class FleetPlan(msgspec.Struct, frozen=True):
    """What a fleet sets out to do: the words of each `run`, and the jobs."""

    words: tuple[str, ...]
    jobs: tuple[Job, ...]


def write_plan(folder: Path, plan: FleetPlan) -> None:
    """Write a plan into the folder of its results, which is made. Raises BadRequest if it can't."""
    try:
        folder.mkdir(parents=True)
        (folder / PLAN_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(plan)))
    except FileExistsError:
        raise BadRequest(f"--out {folder} exists; --resume {folder} completes it") from None
    except OSError as error:
        raise BadRequest(f"--out {folder}: {error.strerror}; choose another folder") from None


def read_plan(folder: Path) -> FleetPlan:
    """Read the plan of a fleet that was begun. Raises BadRequest where there is none."""
    try:
        return msgspec.json.decode((folder / PLAN_FILE).read_bytes(), type=FleetPlan)
    except (OSError, msgspec.DecodeError) as error:
        raise BadRequest(f"--resume {folder}: no folder of a fleet ({error})") from None


def split(jobs: Iterable[tuple[str, str]], cases: int) -> list[Job]:
    """Split a plan of so many cases over nodes, given as (type, hardware key).

    Each hardware key has the whole plan, and each of its nodes a part of the cases; there are
    never more parts than cases.
    """
    nodes: dict[tuple[str, str], int] = {}
    for node in jobs:
        nodes[node] = nodes.get(node, 0) + 1
    return [
        Job(node_type, part, min(count, cases), key)
        for (node_type, key), count in nodes.items()
        for part in range(1, min(count, cases) + 1)
    ]
