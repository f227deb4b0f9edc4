"""The races as pytest-benchmark items: `pytest suite`, one item a (case, variant).

Nothing is timed here. The selected items are raced once, as `run` does it, and each item hands its
samples to pytest-benchmark through a timer that replays them; so comparing, saving and histograms
work as for any benchmark.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from suite.cases.case import Case
from suite.cases.plan import Plan
from suite.cases.sweeps import DEFAULT_SWEEPS, SWEEPS
from suite.conditions import nvml
from suite.conditions.device import device_for
from suite.race.watch import Silence
from suite.records.fingerprint import run_header
from suite.records.record import Agreement, CellRecord, Fault, Memory, Time
from suite.records.store import Store, read
from suite.run import Run
from variants.catalog import BASELINE, CATALOG, on

STEP_TIMEOUT_S = 120.0


@dataclass
class ReplayTimer:
    """A timer for pytest-benchmark whose every second reading is one recorded sample later.

    Each pair of readings starts at zero, because only then is their difference the sample itself,
    to the last bit.
    """

    __name__ = "alibi_race"

    samples_s: list[float] = field(default_factory=list)
    _ends: Iterator[float] | None = None

    def __call__(self) -> float:
        """Return zero, then a sample's seconds, then zero again."""
        if self._ends is None:
            self._ends = iter(self.samples_s)
            self._running = False
        self._running = not self._running
        return 0.0 if self._running else next(self._ends)

    def __hash__(self) -> int:
        return id(self)


Races = dict[tuple[str, str], list[CellRecord]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item for each case and variant of the sweep, each with a timer of its own."""
    device = device_for(metafunc.config.getoption("--alibi-device"))
    sweep = SWEEPS[metafunc.config.getoption("--alibi-sweep") or DEFAULT_SWEEPS[device.kind]]
    metafunc.parametrize(
        ("case", "variant", "timer"),
        [
            pytest.param(
                case,
                variant.name,
                timer,
                id=f"{case.id}-{variant.name}",
                marks=pytest.mark.benchmark(timer=timer, group=case.id),
            )
            for case in sweep.cases()
            for variant in on(device.kind)
            for timer in (ReplayTimer(),)
        ],
    )


@pytest.fixture(scope="session")
def races(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Races:
    """Race every selected item, with the baseline beside it, and return the records by item."""
    items = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    items = [params for params in items if isinstance(params.get("timer"), ReplayTimer)]
    cases = tuple(dict.fromkeys(params["case"] for params in items))
    names = {params["variant"] for params in items} | {BASELINE.name}
    used = device_for(request.config.getoption("--alibi-device"))
    plan = Plan(
        cases=cases,
        variants=tuple(variant.name for variant in CATALOG if variant.name in names),
        passes=request.config.getoption("--alibi-passes"),
        seed=0,
        step_timeout_s=STEP_TIMEOUT_S,
        device=used.name,
    )
    header = run_header(plan, [*map(str, request.config.invocation_params.args)], used)
    file = tmp_path_factory.mktemp("alibi") / "races.jsonl"
    store = Store(file)
    try:
        store.append([header])
        with nvml.open_gpu(used.uuid) as gpu:
            Run(plan, CATALOG, header.policy, store, Silence(), gpu).measure()
    finally:
        store.close()
    found: Races = {}
    for record in read(file).records:
        if isinstance(record, CellRecord):
            found.setdefault((record.case.id, record.variant), []).append(record)
    return found


@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used at all")
def test_attention(
    benchmark: Any, request: pytest.FixtureRequest, case: Case, variant: str, timer: ReplayTimer
) -> None:
    """Hand one cell's samples to pytest-benchmark; skip or fail where it has none, and say why."""
    if benchmark.disabled:
        benchmark.pedantic(_nothing)
        return
    records = request.getfixturevalue("races")[case.id, variant]
    benchmark.extra_info.update(_extra_info(records))
    _stop_without_samples(records)
    timer.samples_s = [
        sample / time.calls_per_sample / 1e9
        for time in records
        if isinstance(time, Time)
        for _, samples in time.turns
        for sample in samples
    ]
    benchmark.pedantic(_nothing, rounds=len(timer.samples_s))


def _nothing() -> None:
    """Stand in for the call: it was timed in the race."""


def _stop_without_samples(records: Sequence[CellRecord]) -> None:
    for record in records:
        if isinstance(record, Fault):
            reason = f"{record.status}: {record.reason}"
            if record.status in {"unsupported", "skipped"}:
                pytest.skip(reason)
            pytest.fail(reason, pytrace=False)
        if isinstance(record, Agreement) and not record.agrees:
            error = "no finite error" if record.error is None else f"error {record.error:.1e}"
            pytest.fail(
                f"disagrees: {record.where}: {error}, budget {record.budget:.1e}", pytrace=False
            )


def _extra_info(records: Sequence[CellRecord]) -> dict[str, Any]:
    """Return agreement, memory and status in the terms of `table --format json`."""
    info: dict[str, Any] = {"status": "measured"}
    for record in records:
        match record:
            case Agreement():
                info |= {"error": record.error, "error_budget": record.budget}
                info |= {} if record.agrees else {"status": "disagrees"}
            case Memory():
                info |= {
                    "peak_bytes": record.peak_bytes,
                    "persistent_bytes": record.persistent_bytes,
                    "nvml_bytes": record.nvml_bytes,
                }
            case Time():
                info |= {"kernels": list(record.kernels), "stopped_by": record.stopped_by}
            case Fault():
                info |= {"status": record.status, "reason": record.reason}
    return info
