"""The C++ kernel agrees with the formula as it is built for Arm."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.variants.native.gradient_problem import TOLERATED, draw_problem, truth, worst_error
from tests.variants.native.on_arm.arm import (
    COMPILER,
    PROCESSOR,
    SCALE,
    Call,
    attention_of,
    build,
    gradients,
)
from variants.native.kernel_arguments import BIDIRECTIONAL, CAUSAL
from variants.problem import alibi_slopes
from variants.reference import attend

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not (shutil.which(COMPILER) and shutil.which(PROCESSOR)),
        reason=f"{COMPILER} or {PROCESSOR} is not on the PATH",
    ),
]


@pytest.fixture(scope="module", params=["armv8-a", "armv8.2-a+fp16+bf16"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("arm"), request.param)


def error(program: Path, call: Call) -> float:
    """Return the largest error of a row of the output, over its norm."""
    q, k, v = (part.double() for part in call[:3])
    slopes = alibi_slopes(q.shape[1]).double()
    right = attend(q, k, v, slopes, scale=SCALE, causal=call.causal)
    return worst_error(attention_of(program, call).double(), right)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [
        {"q_len": 300, "kv_len": 300, "kv_heads": 2},
        {"q_len": 70, "kv_len": 333, "dim": 40, "value_dim": 20, "batch": 2},
        {"q_len": 130, "kv_len": 130, "dim": 128, "value_dim": 128},
    ],
    ids=str,
)
def test_blocks_of_queries(program: Path, sizes: dict[str, Any], causal: bool) -> None:
    problem = draw_problem(**sizes)
    assert error(program, Call(problem.q, problem.k, problem.v, causal)) < TOLERATED[torch.float32]


@pytest.mark.parametrize("dtype", TOLERATED, ids=str)
@pytest.mark.parametrize(("q_len", "dim"), [(1, 64), (1, 20), (4, 80), (16, 128)])
def test_few_queries(program: Path, q_len: int, dim: int, dtype: torch.dtype) -> None:
    problem = draw_problem(q_len=q_len, kv_len=700, dim=dim, value_dim=dim, kv_heads=2, dtype=dtype)
    for causal in (True, False):
        assert error(program, Call(problem.q, problem.k, problem.v, causal)) < TOLERATED[dtype]


@pytest.mark.parametrize("causal", [True, False])
def test_gradients(program: Path, causal: bool) -> None:
    problem = draw_problem(q_len=150, kv_len=333, dim=40, value_dim=20, batch=2)
    found = gradients(program, Call(problem.q, problem.k, problem.v, causal), problem.d_out)
    wanted = truth(problem, CAUSAL if causal else BIDIRECTIONAL)
    for some, right in zip(found, wanted, strict=True):
        cancelling = 20 if right.dim() < 4 else 1
        assert worst_error(some.double(), right) < TOLERATED[torch.float32] * cancelling


def test_a_wrong_scale_is_seen(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = draw_problem(q_len=1, kv_len=70)
    call = Call(problem.q, problem.k, problem.v)
    monkeypatch.setattr("tests.variants.native.on_arm.arm.SCALE", SCALE * 1.01)
    assert error(program, call) > TOLERATED[torch.float32]
