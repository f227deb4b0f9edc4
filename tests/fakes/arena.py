"""A duel whose lanes compute nothing, and the file that its records go to."""

from contextlib import ExitStack
from pathlib import Path

from suite.cases.case import Case
from suite.cases.plan import Cell, Plan
from suite.conditions.device import device_for
from suite.conditions.nvml import Absent
from suite.lanes.compile_cache import compile_cache
from suite.lanes.handle import Launch
from suite.pairs.duel import Duel, Injection
from suite.pairs.sides import Side
from suite.race.watch import Silence
from suite.records.fingerprint import run_header
from suite.records.record import SIDES, Pair, Record
from suite.records.store import Store, read
from tests.fakes.lane import COMMAND
from variants.catalog import Variant

NAMES = ("first", "second")
CASES = tuple(
    Case(heads=1, kv_heads=1, head_dim=8, q_len=n, kv_len=n, dtype="float32") for n in (16, 24)
)
CELLS: list[Cell] = [(case, name) for name in NAMES for case in CASES]
LAUNCH = Launch(COMMAND)
STEP_TIMEOUT_S = 60.0


def a_side(what: str, names: tuple[str, ...] = NAMES, launch: Launch = LAUNCH) -> Side:
    """Return a side whose variants' modules carry its name."""
    return Side(what, launch, {name: Variant(name, f"{what}.{name}") for name in names}, {})


class Arena:
    """A duel over fake lanes and the file that its records go to."""

    def __init__(
        self,
        stack: ExitStack,
        file: Path,
        base: Side | None = None,
        injection: Injection | None = None,
    ) -> None:
        plan = Plan(CASES, NAMES, 1, 0, STEP_TIMEOUT_S)
        header = run_header(plan, [], device_for("cpu"))
        self.file = file
        store = Store(file)
        stack.callback(store.close)
        store.append([header])
        self.duel = Duel(
            plan=plan,
            base=base or a_side("base"),
            head=a_side("head"),
            policy=header.policy,
            caches={side: stack.enter_context(compile_cache()) for side in SIDES},
            store=store,
            watch=Silence(),
            gpu=Absent("no GPU"),
            injection=injection,
        )

    @property
    def records(self) -> list[Record]:
        """The records so far, without the header."""
        return read(self.file).records[1:]

    @property
    def pairs(self) -> list[Pair]:
        """The pairs so far."""
        return [record for record in self.records if isinstance(record, Pair)]
