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

    A `hardware_key` holds it to nodes of this key, which the parts of one plan need. With
    `cases_to_split` the job is yet to be split, and this is how many cases it has.
    """

    node_type: str
    part: int = 1
    parts: int = 1
    hardware_key: str | None = None
    cases_to_split: int | None = None

    @property
    def name(self) -> str:
        """The name of its results file; those of GPUs have the GPU behind it."""
        if self.hardware_key is None:
            return self.node_type
        return f"{self.node_type}-{self.hardware_key}-{self.part}-of-{self.parts}"

    @property
    def kind(self) -> str:
        """The kind of device that it measures on its node; cuda are all GPUs."""
        return "cpu" if self.node_type == CPU else "cuda"


class FleetPlan(msgspec.Struct, frozen=True):
    """What a fleet sets out to do: the words of each `run`, and the jobs."""

    words: tuple[str, ...]
    jobs: tuple[Job, ...]


def begin_folder(folder: Path, plan: FleetPlan) -> None:
    """Make the folder of a fleet's results, with its plan. Raises BadRequest if that can't be."""
    try:
        folder.mkdir(parents=True)
        write_plan(folder, plan)
    except FileExistsError:
        raise BadRequest(f"--out {folder} exists; --resume {folder} completes it") from None
    except OSError as error:
        raise BadRequest(f"--out {folder}: {error.strerror}; choose another folder") from None


def write_plan(folder: Path, plan: FleetPlan) -> None:
    """Write a plan into the folder of its results, in place of the one that is there."""
    new = folder / f"{PLAN_FILE}.new"
    new.write_bytes(msgspec.json.format(msgspec.json.encode(plan)))
    new.replace(folder / PLAN_FILE)


def read_plan(folder: Path) -> FleetPlan:
    """Read the plan of a fleet that was begun. Raises BadRequest where there is none."""
    try:
        return msgspec.json.decode((folder / PLAN_FILE).read_bytes(), type=FleetPlan)
    except (OSError, msgspec.DecodeError) as error:
        raise BadRequest(f"--resume {folder}: no folder of a fleet ({error})") from None


def split(job: Job, keys: Iterable[str]) -> list[Job]:
    """Split a job over nodes of its type, given by their hardware keys.

    Each hardware key has the whole plan, and each of its nodes a part of the cases; there are
    never more parts than cases. Without nodes the job stays whole.
    """
    cases = job.cases_to_split or 1
    nodes: dict[str, int] = {}
    for key in keys:
        nodes[key] = nodes.get(key, 0) + 1
    parts = [
        Job(job.node_type, part, min(count, cases), key)
        for key, count in nodes.items()
        for part in range(1, min(count, cases) + 1)
    ]
    return parts or [Job(job.node_type)]
