"""Races on a real GPU: every cell has a fate, memory is exact, a broken context costs one cell."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from suite.cases.case import Case
from suite.cases.plan import Plan
from suite.conditions import nvml
from suite.conditions.device import device_for
from suite.race.watch import Silence
from suite.records.fingerprint import run_header
from suite.records.record import Agreement, CellRecord, Fault, Memory, Record, Time
from suite.records.store import Store, read
from suite.run import Run
from tests.records import a_case
from variants.catalog import BASELINE, Variant, on

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(240)]

case = partial(a_case, dtype="bfloat16")


def race(
    file: Path, cases: Sequence[Case], variants: Sequence[Variant], passes: int = 1
) -> list[Record]:
    """Race variants on the first GPU and return the file's records."""
    device = device_for("cuda:0")
    names = tuple(variant.name for variant in variants)
    plan = Plan(tuple(cases), names, passes, 0, 120.0, device.name)
    header = run_header(plan, [], device)
    store = Store(file)
    store.append([header])
    with nvml.open_gpu(device.uuid) as gpu:
        Run(plan, variants, header.policy, store, Silence(), gpu).measure()
    store.close()
    return read(file).records


def of_cell(records: Sequence[Record], variant: str, wanted: Case) -> list[CellRecord]:
    return [
        record
        for record in records
        if isinstance(record, CellRecord) and (record.variant, record.case) == (variant, wanted)
    ]


def test_every_variant_has_a_fate_at_odd_lengths_forward_and_backward(tmp_path: Path) -> None:
    cases = [case(1000), case(1000, mode="backward"), case(1024, mode="backward")]
    records = race(tmp_path / "run.jsonl", cases, on("cuda"))
    for each in cases:
        for variant in on("cuda"):
            found = of_cell(records, variant.name, each)
            checks = [record for record in found if isinstance(record, Agreement)]
            fates = [record for record in found if isinstance(record, Time | Fault)]
            assert fates or any(not check.agrees for check in checks), (variant.name, each.id)
            print(each.id, variant.name, *(type(fate).__name__ for fate in fates))
    baseline = of_cell(records, BASELINE.name, cases[0])
    assert any(isinstance(record, Time) and record.cost != "wall" for record in baseline)


def test_a_dense_mask_keeps_its_bytes_and_no_more(tmp_path: Path) -> None:
    masked = next(variant for variant in on("cuda") if variant.name == "sdpa_mask_math")
    records = race(tmp_path / "run.jsonl", [case(1024)], [BASELINE, masked])
    (memory,) = (
        record for record in of_cell(records, masked.name, case(1024)) if isinstance(record, Memory)
    )
    assert memory.persistent_bytes == 8 * 1024 * 1024 * 2
    assert memory.nvml_bytes is not None


def test_a_broken_context_costs_its_own_cell_alone(tmp_path: Path) -> None:
    variants = [
        Variant("no_bias", "tests.fakes.baseline", answers="no_bias"),
        Variant("first", "tests.fakes.first"),
        Variant("poisoned", "tests.fakes.out_of_bounds"),
    ]
    records = race(tmp_path / "run.jsonl", [case(16), case(24)], variants)
    (fault,) = (record for record in records if isinstance(record, Fault))
    assert (fault.variant, fault.case.q_len, fault.status) == ("poisoned", 24, "failed")
    assert "CUDA error" in fault.reason
    timed = {(one.variant, one.case.q_len) for one in records if isinstance(one, Time)}
    assert timed >= {("poisoned", 16), ("first", 16), ("first", 24), ("no_bias", 24)}


def test_the_driver_and_torch_tell_of_the_same_gpu() -> None:
    import torch

    device = device_for("cuda:0")
    with nvml.open_gpu(device.uuid) as gpu:
        assert isinstance(gpu, nvml.NvmlGpu)
        told = gpu.state()
        clock = gpu.clock()
    assert told.name == torch.cuda.get_device_name(0)
    assert isinstance(clock, nvml.Clock)
    assert clock.sm_mhz > 0
