"""The one way torch.compile is used here: as a whole graph, without silent fallbacks to eager."""

import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import torch

from variants.compiled.cpp_build import cpp_compiler
from variants.problem import Attention, Unsupported

BACKEND = "inductor"
"""torch.compile's backend. Tests of what a graph computes replace it by one that runs the graph."""


def compile_alone(
    function: Callable[..., Any],
    device: torch.device,
    *,
    dynamic: bool = False,
    mode: str | None = None,
) -> Attention:
    """Return `function` compiled: for one shape, or with `dynamic` for any shape.

    torch counts recompilations by code object; past its limit it runs eager code without a warning.
    So each call compiles a copy of `function` with a separate code object and count, and fullgraph
    turns the limit into an error. `mode` is torch.compile's.

    Raises Unsupported where inductor lacks a C++ compiler or Python's headers.
    """
    if device.type == "cpu":
        _require_cpu_compiler()
    graph = torch.compile(
        _copy_code(function), backend=BACKEND, fullgraph=True, dynamic=dynamic, mode=mode
    )
    return cast(Attention, graph)


def _copy_code(function: Callable[..., Any]) -> FunctionType:
    original = cast(FunctionType, function)
    return FunctionType(
        original.__code__.replace(),
        original.__globals__,
        original.__name__,
        original.__defaults__,
        original.__closure__,
    )


def _require_cpu_compiler() -> None:
    cpp_compiler("torch.compile")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        raise Unsupported(
            "torch.compile needs Python's headers and Python.h is not installed: "
            "apt-get install python3-dev"
        )
