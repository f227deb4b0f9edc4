"""300 random faults: nothing finished is lost, blame is always right, nothing is left behind."""

import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import psutil
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from suite.cases.case import Case
from suite.cases.plan import Plan
from suite.conditions.device import device_for
from suite.lanes.handle import Launch
from suite.race.watch import Silence, Watch
from suite.records.fingerprint import run_header
from suite.records.record import Agreement, CellRecord, Fault, Memory, Time
from suite.records.store import Store, read
from suite.run import Run
from tests.fakes.lane import KINDS
from variants.catalog import Variant

VARIANTS = tuple(Variant(name, name) for name in ("no_bias", "first", "second"))
LENGTHS = (16, 24, 32)
STEPS = (
    "Foresee",
    "Prepare",
    "FirstCall",
    "Check before",
    "Slice",
    "EmptyCaches",
    "Weigh",
    "Check after",
    "NameKernels",
    "Drop",
)
STATUS = {"hang": "timed_out", "failed": "failed", "unsupported": "unsupported"}
COSTS_NOTHING = {"NameKernels"}
EXAMPLES, FAULTS_EACH = 75, 4

cells = st.tuples(st.sampled_from([variant.name for variant in VARIANTS]), st.sampled_from(LENGTHS))
faults = st.dictionaries(
    cells,
    st.tuples(st.sampled_from(STEPS), st.sampled_from(KINDS)),
    min_size=FAULTS_EACH,
    max_size=FAULTS_EACH,
)

injected: Counter[str] = Counter()


@settings(
    max_examples=EXAMPLES,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(faults)
def check_faults(planned: dict[tuple[str, int], tuple[str, str]]) -> None:
    """Run nine cells with four faults among them and look at every cell afterwards."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, _told(planned)):
        file = Path(folder, "run.jsonl")
        measure(file)
        results = read(file)
        left = list(Path(tempfile.gettempdir()).glob(f"alibi-bench-{os.getpid()}-*"))
    assert results.warnings == []
    assert left == []
    assert psutil.Process().children(recursive=True) == []
    by_cell: dict[tuple[str, int], list[CellRecord]] = {}
    for record in results.records:
        if isinstance(record, CellRecord):
            by_cell.setdefault((record.variant, record.case.q_len), []).append(record)
    for variant in VARIANTS:
        for length in LENGTHS:
            assert_told_right(by_cell[variant.name, length], planned.get((variant.name, length)))
    injected.update(kind for _, kind in planned.values())


def assert_told_right(records: list[CellRecord], fault: tuple[str, str] | None) -> None:
    """Say that a cell has all it finished, and the blame for its own fault alone."""
    kinds = Counter(type(record) for record in records)
    if fault is None or fault[0] in COSTS_NOTHING:
        assert kinds == {Agreement: 2, Memory: 1, Time: 1}
        return
    step, kind = fault
    (told,) = (record for record in records if isinstance(record, Fault))
    assert told.status == STATUS.get(kind, "crashed")
    assert told.step == step.split()[0]
    timed = STEPS.index(step) > STEPS.index("Slice")
    assert kinds[Time] == timed
    assert kinds[Memory] == (STEPS.index(step) > STEPS.index("Weigh"))


def measure(file: Path, watch: Watch | None = None) -> None:
    """Run the plan with lanes that start at once."""
    plan = Plan(
        cases=tuple(
            Case(heads=1, kv_heads=1, head_dim=8, q_len=n, kv_len=n, dtype="float32")
            for n in LENGTHS
        ),
        variants=tuple(variant.name for variant in VARIANTS),
        passes=1,
        seed=0,
        step_timeout_s=0.7,
    )
    header = run_header(plan, [], device_for("cpu"))
    store = Store(file)
    try:
        store.append([header])
        launch = Launch((sys.executable, "-S", "-m", "tests.fakes.lane"))
        Run(plan, VARIANTS, header.policy, store, watch or Silence(), launch=launch).measure()
    finally:
        store.close()


def _told(planned: dict[tuple[str, int], tuple[str, str]]) -> dict[str, str]:
    told = [[name, q_len, step, kind] for (name, q_len), (step, kind) in planned.items()]
    paths = [path for path in sys.path if path.endswith("site-packages")]
    return {"FAULTS": json.dumps(told), "PYTHONPATH": os.pathsep.join(paths)}


def test_300_random_faults_lose_nothing_and_blame_nobody_else() -> None:
    injected.clear()
    check_faults()
    assert injected.total() >= 300
    assert set(injected) == set(KINDS)


class Reader(Silence):
    """Reads the results file whenever a variant is about to be checked again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.times: list[int] = []

    def step(self, case: Case, variant: str, doing: str) -> None:
        """Count the times in the file."""
        if doing == "check again":
            self.times.append(sum(isinstance(record, Time) for record in read(self.file).records))


def test_a_finished_cell_is_in_the_file_before_the_next_one_leaves_the_race(
    tmp_path: Path,
) -> None:
    reader = Reader(tmp_path / "run.jsonl")
    with mock.patch.dict(os.environ, _told({})):
        measure(reader.file, reader)
    assert reader.times == list(range(len(VARIANTS) * len(LENGTHS)))
