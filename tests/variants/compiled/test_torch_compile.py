"""torch.compile either runs the compiled graph or says why it can't; it never runs eager code."""

import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import FailOnRecompileLimitHit

from variants.compiled.torch_compile import compile_alone
from variants.problem import Attention, Unsupported

CPU = torch.device("cpu")

pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)


def transposed_when_compiled(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
    """Return a view that tells whether it was made by a compiled graph."""
    return q.mT if torch.compiler.is_compiling() else q


def answers_compiled(attention: Attention, length: int) -> bool:
    """Call `attention` at a length and say whether the compiled graph answered."""
    q = torch.zeros(1, 1, length, 40)
    return attention(q, q, q, q).shape == q.mT.shape


def test_torch_alone_runs_eager_code_without_a_word_past_its_limit() -> None:
    def transpose(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return q.mT if torch.compiler.is_compiling() else q

    left_to_itself: Attention = torch.compile(transpose, backend="eager", dynamic=False)
    limit = torch._dynamo.config.recompile_limit
    ran = [answers_compiled(left_to_itself, length) for length in range(1, limit + 2)]
    assert ran == [True] * limit + [False]


def test_past_the_recompile_limit_is_an_error_and_not_eager_code() -> None:
    attention = compile_alone(transposed_when_compiled, CPU)
    limit = torch._dynamo.config.recompile_limit
    assert limit < 12
    for length in range(1, limit + 1):
        assert answers_compiled(attention, length)
    with pytest.raises(FailOnRecompileLimitHit):
        answers_compiled(attention, limit + 1)


def test_copies_compiled_apart_do_not_share_the_limit() -> None:
    for length in range(1, 13):
        assert answers_compiled(compile_alone(transposed_when_compiled, CPU), length)


def test_a_copy_keeps_defaults_and_closure() -> None:
    factor = 3

    def narrow(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, dim: int = 2) -> Tensor:
        return q.narrow(dim, 0, factor)

    q = torch.arange(40.0).view(1, 1, 10, 4)
    assert torch.equal(compile_alone(narrow, CPU)(q, q, q, q), q[:, :, :3])


def test_a_graph_that_would_break_is_refused() -> None:
    def break_graph(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return q

    q = torch.zeros(1, 1, 4, 4)
    with pytest.raises(torch._dynamo.exc.Unsupported):
        compile_alone(break_graph, CPU)(q, q, q, q)


def test_without_a_compiler_the_reason_says_how_to_install_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(Unsupported, match=r"g\+\+ is not on the PATH: apt-get install g\+\+$"):
        compile_alone(transposed_when_compiled, CPU)


def test_a_compiler_named_by_cxx_that_is_absent_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Unsupported, match="no-such-compiler is not on the PATH"):
        compile_alone(transposed_when_compiled, CPU)


def test_without_python_s_headers_the_reason_says_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / name))
    with pytest.raises(Unsupported, match=r"Python\.h is not installed: apt-get .* python3-dev$"):
        compile_alone(transposed_when_compiled, CPU)
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "Python.h").touch()
    compile_alone(transposed_when_compiled, CPU)


def test_a_gpu_needs_no_c_compiler_beforehand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    compile_alone(transposed_when_compiled, torch.device("cuda"))
