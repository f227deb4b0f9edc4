"""A cell's command, typed again, plans the cell."""

import shlex
from pathlib import Path

import msgspec
import pytest

from reports.commands.run import run
from reports.tables.cells import groups
from reports.tables.row import Row
from reports.web_page.cell_command import command_for
from suite.cases.case import Case
from suite.cases.models import built_in
from suite.cases.plan import Plan
from suite.cases.request import Request
from suite.conditions.policy import ROOT
from suite.kernels.user_kernels import UserKernel
from suite.records.record import RunHeader
from suite.records.store import read
from tests.records import a_case, a_cell, a_machine, a_plan, a_run, results

PUBLISHED = sorted((ROOT / "results" / "published").glob("*/*.jsonl"))


def plan_of(command: str) -> Plan:
    """Return the plan that a command line makes."""
    words = shlex.split(command)
    assert words[:3] == ["python", "run_bench.py", "run"]
    options = run.make_context("run", words[3:]).params
    grid = {name: options[name] for name in Request.__struct_fields__ if name in options}
    return Request(**grid).plan(options["device"])


def row_of(case: Case, variant: str = "eager") -> tuple[Row, RunHeader]:
    """Return the row of a case that was measured, and the header of its run."""
    header = a_machine(a_plan(case, variants=["no_bias", variant]))
    file = results(header, *a_cell(case, variant))
    rows = groups([file])[0].rows
    return next(row for row in rows if row.variant == variant), header


def assert_planned_again(case: Case) -> None:
    command = command_for(*row_of(case))
    assert command is not None
    plan = plan_of(command)
    assert case in plan.cases
    assert len(plan.cases) == (2 if case.seq_lens and not case.q_lens else 1)
    assert plan.variants == ("no_bias", "eager")


PLAIN = a_case(640)


@pytest.mark.parametrize(
    "case",
    [
        PLAIN,
        msgspec.structs.replace(PLAIN, dtype="bfloat16", mode="backward", batch=3),
        msgspec.structs.replace(PLAIN, causal=False, layout="bnhd", logit_scale=2.5),
        msgspec.structs.replace(PLAIN, q_len=128),
        msgspec.structs.replace(PLAIN, q_len=1, mode="decode"),
        msgspec.structs.replace(PLAIN, q_len=4, mode="decode", norms=True, kv_heads=2),
        msgspec.structs.replace(PLAIN, window=64, head_dim=128, heads=16, kv_heads=16),
        msgspec.structs.replace(PLAIN, seq_lens=(640, 40), batch=2),
        msgspec.structs.replace(PLAIN, seq_lens=(640, 40), batch=2, form="packed", padding="left"),
        msgspec.structs.replace(
            PLAIN, seq_lens=(640, 640, 40), q_lens=(1, 1, 40), q_len=40, batch=3, form="packed"
        ),
    ],
    ids=lambda case: case.id,
)
def test_the_command_of_a_cell_plans_it_and_no_other_case(case: Case) -> None:
    assert_planned_again(case)


@pytest.mark.parametrize("name", sorted(built_in()))
def test_the_command_of_a_models_case_plans_it_with_its_slopes_and_scale(name: str) -> None:
    shape = built_in()[name].shape
    fields = set(Case.__struct_fields__) & set(shape._fields) - {"recording"}
    attention = {field: getattr(shape, field) for field in fields}
    assert_planned_again(Case(q_len=512, kv_len=512, dtype="float32", **attention))


def test_a_models_case_whose_mask_was_taken_off_is_planned_without_it() -> None:
    shape = built_in()["falcon-rw-1b"].shape
    assert shape.causal
    assert_planned_again(
        Case(
            q_len=512,
            kv_len=512,
            dtype="float32",
            heads=shape.heads,
            kv_heads=shape.heads,
            head_dim=shape.head_dim,
            slope_scale=shape.slope_scale,
            causal=False,
        )
    )


def test_on_a_gpu_the_default_sweep_has_two_shapes_so_the_command_names_another() -> None:
    row, header = row_of(PLAIN)
    plan = msgspec.structs.replace(header.plan, device="cuda:1")
    command = command_for(row, msgspec.structs.replace(header, plan=plan))
    assert command is not None
    assert "--device cuda --sweep quick" in command


def test_slopes_that_no_option_sets_have_no_command() -> None:
    assert command_for(*row_of(msgspec.structs.replace(PLAIN, bias_max=7.0))) is None


def test_a_kernel_of_the_users_own_is_named_as_it_was_typed_and_quoted() -> None:
    row, header = row_of(PLAIN, "my kernel.py?block=64")
    kernel = UserKernel("./my kernel.py?block=64", "00")
    plan = msgspec.structs.replace(header.plan, kernels=(kernel,))
    command = command_for(row, msgspec.structs.replace(header, plan=plan))
    assert command is not None
    assert shlex.split(command)[4] == "./my kernel.py?block=64"


def test_an_interpreter_of_its_own_and_other_passes_are_in_the_command() -> None:
    row, header = row_of(PLAIN)
    plan = msgspec.structs.replace(header.plan, pythons=(("eager", "/opt/python"),))
    command = command_for(row, msgspec.structs.replace(header, plan=plan))
    assert command is not None
    assert "--python eager=/opt/python" in command
    assert command.endswith("--passes 1")
    rows = groups([a_run({"eager": [1.0, 1.0, 1.0]})])[0].rows
    assert "--passes" not in str(command_for(rows[0], header))


def test_a_recording_is_named_by_file_and_layer() -> None:
    case = msgspec.structs.replace(PLAIN, recording="some/tiny.safetensors#layer2@1a2b3c4d")
    assert "--inputs 'some/tiny.safetensors#layer2'" in str(command_for(*row_of(case)))


@pytest.mark.parametrize("path", PUBLISHED[::6], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_command_of_every_published_cell_plans_it(path: Path) -> None:
    file = read(path)
    cases = {case.id: case for case in file.header.plan.cases}
    for row in groups([file])[0].rows:
        command = command_for(row, file.header)
        assert command is not None
        plan = plan_of(command)
        assert plan.cases == (cases[row.case],)
        assert row.variant in plan.variants
