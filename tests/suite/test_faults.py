"""Random faults: nothing finished is lost, blame is always right, nothing is left behind."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from suite.cases.case import Case
from suite.cases.plan import Plan
from suite.conditions.device import device_for
from suite.race.watch import Silence, Watch
from suite.records.fingerprint import run_header
from suite.records.record import Agreement, CellRecord, Fault, Memory, Time
from suite.records.store import Store, read
from suite.run import Run
from tests.fakes.arena import LAUNCH
from tests.fakes.in_process import believe_invented_times, start_invented_lanes_in_process
from tests.fakes.lane import KINDS, PlannedFault, environment
from tests.suite.fates import children
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
FAULTS_EACH = 4

FaultPlan = dict[tuple[str, int], tuple[str, str]]
"""(variant, q_len) -> the step at which it goes wrong, and how."""

cells = st.tuples(st.sampled_from([variant.name for variant in VARIANTS]), st.sampled_from(LENGTHS))
faults = st.dictionaries(
    cells,
    st.tuples(st.sampled_from(STEPS), st.sampled_from(KINDS)),
    min_size=FAULTS_EACH,
    max_size=FAULTS_EACH,
)


def check_random_faults(count: int, measure: Callable[[Path, FaultPlan], None]) -> Counter[str]:
    """Check runs with so many random faults in all; return how often each kind was planted."""
    planted: Counter[str] = Counter()

    @settings(
        max_examples=count // FAULTS_EACH,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(faults)
    def check(planned: FaultPlan) -> None:
        check_run(planned, measure)
        planted.update(kind for _, kind in planned.values())

    check()
    return planted


def check_run(planned: FaultPlan, measure: Callable[[Path, FaultPlan], None]) -> None:
    """Run nine cells with faults among them and look at every cell afterwards."""
    before = children()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "run.jsonl")
        measure(file, planned)
        results = read(file)
        left = list(Path(tempfile.gettempdir()).glob(f"alibi-bench-{os.getpid()}-*"))
    assert results.warnings == []
    assert left == []
    assert children() <= before
    by_cell: dict[tuple[str, int], list[CellRecord]] = {}
    for record in results.records:
        if isinstance(record, CellRecord):
            by_cell.setdefault((record.variant, record.case.q_len), []).append(record)
    for variant in VARIANTS:
        for length in LENGTHS:
            assert_blamed_rightly(
                by_cell[variant.name, length], planned.get((variant.name, length))
            )


def assert_blamed_rightly(records: list[CellRecord], fault: tuple[str, str] | None) -> None:
    """Say that a cell has all it finished, and the blame for its own fault alone."""
    kinds = Counter(type(record) for record in records)
    if fault is None or fault[0] in COSTS_NOTHING:
        small_checks = sum(
            isinstance(record, Agreement) and record.stage == "small" for record in records
        )
        assert kinds == {Agreement: 2 + small_checks, Memory: 1, Time: 1}
        assert small_checks <= 1
        return
    step, kind = fault
    (blame,) = (record for record in records if isinstance(record, Fault))
    assert blame.status == STATUS.get(kind, "crashed")
    assert blame.step == step.split()[0]
    timed = STEPS.index(step) > STEPS.index("Slice")
    assert kinds[Time] == timed
    assert kinds[Memory] == (STEPS.index(step) > STEPS.index("Weigh"))


def measure_with_threads(file: Path, planned: FaultPlan, watch: Watch | None = None) -> None:
    """Run the plan with lanes that are threads of this process."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        start_invented_lanes_in_process(monkeypatch, planned_faults(planned))
        measure(file, watch or Silence(), step_timeout_s=60.0)


def measure_with_processes(file: Path, planned: FaultPlan, step_timeout_s: float = 60.0) -> None:
    """Run the plan with lanes that are processes and start at once."""
    with mock.patch.dict(os.environ, environment(planned_faults(planned))):
        measure(file, Silence(), step_timeout_s=step_timeout_s)


def measure(file: Path, watch: Watch, *, step_timeout_s: float) -> None:
    """Run the plan."""
    plan = Plan(
        cases=tuple(
            Case(heads=1, kv_heads=1, head_dim=8, q_len=n, kv_len=n, dtype="float32")
            for n in LENGTHS
        ),
        variants=tuple(variant.name for variant in VARIANTS),
        passes=1,
        seed=0,
        step_timeout_s=step_timeout_s,
    )
    header = run_header(plan, [], device_for("cpu"))
    store = Store(file)
    try:
        store.append([header])
        Run(plan, VARIANTS, header.policy, store, watch, launch=LAUNCH).measure()
    finally:
        store.close()


def planned_faults(planned: FaultPlan) -> list[PlannedFault]:
    """Return planned faults as lanes take them."""
    return [(name, q_len, step, kind) for (name, q_len), (step, kind) in planned.items()]


def test_100_random_faults_lose_nothing_and_blame_nobody_else() -> None:
    planted = check_random_faults(100, measure_with_threads)
    assert planted.total() >= 100
    assert set(planted) == set(KINDS)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_40_random_faults_of_processes_lose_nothing_and_blame_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    believe_invented_times(monkeypatch)
    planted = check_random_faults(40, partial(measure_with_processes, step_timeout_s=3.0))
    assert planted.total() >= 40
    assert set(planted) == set(KINDS)


def test_processes_of_which_two_die_and_one_says_nonsense_lose_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    believe_invented_times(monkeypatch)
    planned = {
        ("first", 16): ("Slice", "SIGKILL"),
        ("second", 24): ("FirstCall", "exit"),
        ("no_bias", 32): ("Check after", "nonsense"),
    }
    check_run(planned, measure_with_processes)


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
    measure_with_threads(reader.file, {}, reader)
    assert reader.times == list(range(len(VARIANTS) * len(LENGTHS)))
