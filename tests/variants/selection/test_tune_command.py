"""The command that measures a problem is one that the command line takes."""

from pathlib import Path

import msgspec
import pytest

from reports.choosing.choose import problem_of
from tests.docs.test_ci import plan_of
from tests.docs.test_cli import commands
from tests.variants.selections import a_problem
from variants.selection.schema import Problem
from variants.selection.tune_command import tune_command

ROOT = Path(__file__).parents[3]


def test_a_command_measures_the_problem_on_its_device_and_chooses() -> None:
    problem = a_problem(2048, heads=12, kv_heads=4, batch=2, dtype="bfloat16", mode="backward")
    assert tune_command(problem, "cuda:1") == (
        "python run_bench.py choose --tune --device cuda:1 --modes backward --dtypes bfloat16 "
        "--lengths 1024,2048,4096 --batch 2 --heads 12 --kv-heads 4 --head-dim 64"
    )


def test_a_command_names_what_is_not_usual() -> None:
    chunk = tune_command(a_problem(512, q_len=64, causal=False), "cpu").split()
    assert chunk[chunk.index("--q-len") + 1] == "64"
    assert "--noncausal" in chunk
    as_models = tune_command(a_problem(512, layout="bnhd"), "cpu").split()
    assert as_models[as_models.index("--layout") + 1] == "bnhd"
    square = tune_command(a_problem(512), "cpu").split()
    assert not {"--q-len", "--noncausal", "--layout"} & set(square)


@pytest.mark.parametrize(
    "problem",
    [
        a_problem(2048),
        a_problem(40, q_len=39),
        a_problem(20, q_len=1, mode="decode"),
        a_problem(1, mode="backward"),
        a_problem(512, layout="bnhd", causal=False, heads=12, kv_heads=3),
        a_problem(512, logit_scale=4.0),
    ],
)
def test_the_command_line_takes_it_and_measures_the_problem(problem: Problem) -> None:
    words = tune_command(problem, "cpu").split()[3:]
    asked = commands()["choose"].make_context("choose", words).params
    cases = plan_of(asked).cases
    length = max(problem.kv_len, 32)
    q_len = problem.q_len if problem.q_len != problem.kv_len else length
    wanted = msgspec.structs.replace(problem, q_len=q_len, kv_len=length)
    assert wanted in [problem_of(case) for case in cases]
