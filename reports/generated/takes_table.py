"""Who takes which argument of alibi_attention, as a table made by asking every variant."""

import importlib
from typing import Any

from tabulate import tabulate

from variants.catalog import CATALOG

ARGUMENTS: dict[str, dict[str, Any]] = {
    "key_padding": {"sequences": "key_padding"},
    "cu_seqlens": {"sequences": "cu_seqlens"},
    "cu_seqlens_k": {"sequences": "cu_seqlens_k"},
    "kv_lens": {"sequences": "kv_lens"},
    "block_tables": {"sequences": "kv_lens", "page_size": 16},
    "q_offset": {"q_offset": 3},
    "window": {"window": (8, 0)},
    "return_lse": {"return_lse": True},
    "slopes by batch": {"slopes_by_batch": True},
    "value_dim": {"value_dim": 24},
    "dropout_p": {"dropout_p": 0.1},
}
"""For each argument what it makes of a call (variants.problem.Extras)."""


def takes_table() -> str:
    """Return the table, a line for each variant that a CPU measures by default, and for auto."""
    rows = [
        [
            f"`{variant.name}`",
            *("yes" if _takes(variant, each) else "" for each in ARGUMENTS.values()),
        ]
        for variant in CATALOG
        if variant.answers == "alibi" and variant.device in {"any", "cpu"}
    ]
    return tabulate(rows, ["", *ARGUMENTS], "github", disable_numparse=True)


def _takes(variant: Any, extras: dict[str, Any]) -> bool:
    # Imported here, because torch takes seconds and no other report needs it.
    torch: Any = importlib.import_module("torch")
    problem: Any = importlib.import_module("variants.problem")
    answer: Any = importlib.import_module("variants.dispatch.answer")
    spec = problem.Spec(
        batch=1,
        heads=4,
        kv_heads=4,
        q_len=16,
        kv_len=16,
        head_dim=16,
        dtype=torch.float32,
        device=torch.device("cpu"),
        scale=0.25,
        causal=True,
        needs_grad=False,
        extras=problem.Extras(**extras),
    )
    try:
        answer.prepare_for(variant, spec)
    except problem.Unsupported:
        return False
    return True
