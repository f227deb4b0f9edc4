"""What a user chose for the tensors of a test, and which variants then run."""

import importlib
from typing import Any

import pytest
from torch import Tensor

from tests.conftest import Folders
from tests.variants.selections import a_candidate, a_problem, choice_of, of_this_machine, put
from variants.catalog import BY_NAME

LIKE = {"batch": 2, "heads": 4, "kv_heads": 4, "head_dim": 32}
NO_COMPILER = ["eager", "sdpa_mask", "sdpa_key", "sdpa_window"]


def choose(folders: Folders, *names: str, length: int = 48, **changes: Any) -> None:
    """Let the user have chosen the first of variants for tensors of a length."""
    problem = a_problem(length, **LIKE | changes)
    candidates = [a_candidate(name, float(place)) for place, name in enumerate(names, 1)]
    put(folders.of_user, of_this_machine(choice_of(problem, *candidates)))


def watch_calls(monkeypatch: pytest.MonkeyPatch, step: str = "call") -> list[str]:
    """Return a list that fills with the modules whose attention is called, or prepared."""
    names: list[str] = []

    def watch(name: str) -> None:
        module = importlib.import_module(BY_NAME[name].module)
        prepare = module.prepare

        def prepare_and_note(spec: Any, **options: Any) -> Any:
            attend = prepare(spec, **options)

            if step == "prepare":
                names.append(name)

            def call(*inputs: Tensor) -> Tensor:
                if step == "call":
                    names.append(name)
                out: Tensor = attend(*inputs)
                return out

            return call

        monkeypatch.setattr(module, "prepare", prepare_and_note)

    for name in [*NO_COMPILER, "native_window"]:
        watch(name)
    return names
