"""Races as pytest-benchmark items: `pytest suite` has an item for each case and variant.

Nothing is timed here. The selected items are raced once, as command `run` does it. Each item then
hands its recorded samples to pytest-benchmark through a timer that replays them. So comparing,
saving and histograms work as for any benchmark.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from suite.cases.case import Case
from suite.cases.plan import Plan
from suite.cases.sweeps import DEFAULT_SWEEPS, SWEEPS
from suite.conditions import nvml
from suite.conditions.device import device_for
from suite.failures import BadRequest
from suite.kernels.user_kernels import UserKernel, read_kernels, variants_beside
from suite.race.watch import Silence
from suite.records.fingerprint import run_header
from suite.records.record import Agreement, CellRecord, Fault, Memory, Time
from suite.records.store import Store, read
from suite.run import Run
from variants.catalog import BASELINE, BY_NAME, PEERS, Disagreement, on

STEP_TIMEOUT_S = 120.0


@dataclass
class ReplayTimer:
    """A timer for pytest-benchmark whose readings come in pairs, a recorded sample apart.

    The first reading of a pair is always zero, so that the difference is exactly the sample.
    """

    __name__ = "alibi_race"

    samples_s: list[float] = field(default_factory=list)
    _ends: Iterator[float] | None = None

    def __call__(self) -> float:
        """Return zero, then the next sample in seconds, then zero again."""
        if self._ends is None:
            self._ends = iter(self.samples_s)
            self._running = False
        self._running = not self._running
        return 0.0 if self._running else next(self._ends)

    def __hash__(self) -> int:
        return id(self)


Races = dict[tuple[str, str], list[CellRecord]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make an item and a timer for each case and variant of the sweep."""
    device = device_for(metafunc.config.getoption("--alibi-device"))
    sweep = SWEEPS[metafunc.config.getoption("--alibi-sweep") or DEFAULT_SWEEPS[device.kind]]
    own = [kernel.variant for kernel in _kernels(metafunc.config)]
    wants_peers = metafunc.config.getoption("--alibi-peers")
    peers = [peer for peer in PEERS if wants_peers and peer.device in ("any", device.kind)]
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
            for case in sweep.in_half(device.half).cases()
            for variant in (*on(device.kind), *peers, *own)
            for timer in (ReplayTimer(),)
        ],
    )


def _kernels(config: pytest.Config) -> tuple[UserKernel, ...]:
    """Return the kernels of the user's own. Raises UsageError for what can't be one."""
    try:
        return read_kernels(config.getoption("--alibi-kernel"), "--alibi-kernel")
    except BadRequest as error:
        raise pytest.UsageError(str(error)) from None


def _disagreement(name: str, dtype: str) -> Disagreement | None:
    return BY_NAME[name].disagrees_in.get(dtype) if name in BY_NAME else None


class _Notes(Silence):
    """A watch that makes a warning of what is to be known of the races."""

    def note(self, text: str) -> None:
        """Warn; pytest shows it below the table. Never raise, which would end all races."""
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(text, stacklevel=1)


@pytest.fixture(scope="session")
def races(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Races:
    """Race all selected items and the baseline; return the records by case id and variant."""
    items = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    items = [params for params in items if isinstance(params.get("timer"), ReplayTimer)]
    cases = tuple(dict.fromkeys(params["case"] for params in items))
    names = {params["variant"] for params in items} | {BASELINE.name}
    device = device_for(request.config.getoption("--alibi-device"))
    kernels = _kernels(request.config)
    variants = variants_beside(kernels)
    plan = Plan(
        cases=cases,
        variants=tuple(variant.name for variant in variants if variant.name in names),
        passes=request.config.getoption("--alibi-passes"),
        seed=0,
        step_timeout_s=STEP_TIMEOUT_S,
        device=device.name,
        kernels=kernels,
    )
    header = run_header(plan, [*map(str, request.config.invocation_params.args)], device)
    file = tmp_path_factory.mktemp("alibi") / "races.jsonl"
    store = Store(file)
    try:
        store.append([header])
        with nvml.open_gpu(device.uuid) as gpu:
            Run(plan, variants, header.policy, store, _Notes(), gpu).measure()
    finally:
        store.close()
    races: Races = {}
    for record in read(file).records:
        if isinstance(record, CellRecord):
            races.setdefault((record.case.id, record.variant), []).append(record)
    return races


@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used at all")
def test_attention(
    benchmark: Any, request: pytest.FixtureRequest, case: Case, variant: str, timer: ReplayTimer
) -> None:
    """Hand a cell's samples to pytest-benchmark; without samples skip or fail with the reason."""
    if benchmark.disabled:
        benchmark.pedantic(_do_nothing)
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
    benchmark.pedantic(_do_nothing, rounds=len(timer.samples_s))


def _do_nothing() -> None:
    """Do nothing: the call was timed in the race."""


def _stop_without_samples(records: Sequence[CellRecord]) -> None:
    """Skip or fail the item if its cell ended in a fault or a disagreement.

    A disagreement that the catalog has as one by design is an expected failure.
    """
    for record in records:
        if isinstance(record, Fault):
            reason = f"{record.status}: {record.reason}"
            if record.status in {"unsupported", "skipped"}:
                pytest.skip(reason)
            pytest.fail(reason, pytrace=False)
        if isinstance(record, Agreement) and not record.agrees:
            by_design = _disagreement(record.variant, record.case.dtype)
            if by_design and (record.error or math.inf) <= by_design.error_at_most:
                pytest.xfail(f"{record.variant} in {record.case.dtype}: {by_design.reason}")
            error = "no finite error" if record.error is None else f"error {record.error:.1e}"
            pytest.fail(
                f"disagrees: {record.where}: {error}, budget {record.budget:.1e}", pytrace=False
            )


def _extra_info(records: Sequence[CellRecord]) -> dict[str, Any]:
    """Return agreement, memory and status under the names that `table --format json` uses."""
    info: dict[str, Any] = {"status": "measured"}
    if checks := [record for record in records if isinstance(record, Agreement)]:
        worst = max(checks, key=lambda check: check.excess)
        info |= {"error": worst.error, "error_budget": worst.budget}
        info |= {} if worst.agrees else {"status": "disagrees"}
    for record in records:
        match record:
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
