"""A small case with some values changed, ragged values, and any case that has a meaning."""

from typing import Any

from hypothesis import strategies as st

from suite.cases.case import Case

SMALL: dict[str, Any] = {
    "heads": 8,
    "kv_heads": 8,
    "head_dim": 64,
    "q_len": 512,
    "kv_len": 512,
    "dtype": "float32",
}


def case_of(**changes: object) -> Case:
    """Return a small case with some values changed."""
    return Case(**(SMALL | changes))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw any case that has a meaning."""
    kv_heads = draw(st.integers(1, 4))
    kv_len = draw(st.integers(1, 300))
    causal = draw(st.booleans())
    return Case(
        heads=kv_heads * draw(st.integers(1, 4)),
        kv_heads=kv_heads,
        head_dim=draw(st.integers(1, 128)),
        q_len=draw(st.integers(1, kv_len if causal else 300)),
        kv_len=kv_len,
        dtype=draw(st.sampled_from(["float32", "bfloat16", "float16"])),
        batch=draw(st.integers(1, 3)),
        mode=draw(st.sampled_from(["forward", "backward"])),
        causal=causal,
        bias_max=draw(st.sampled_from([4.0, 8.0, 8.5, 16.0])),
        slope_scale=draw(st.sampled_from(["1", "1/sqrt(d)"])),
        scale=draw(st.sampled_from(["1/sqrt(d)", "1/d"])),
        layout=draw(st.sampled_from(["bhnd", "bnhd"])),
        logit_scale=draw(st.sampled_from([0.5, 1.0, 2.0, 10.0])),
    )


RAGGED: dict[str, Any] = {"seq_lens": (7, 300), "batch": 2, "q_len": 300, "kv_len": 300}
SERVER: dict[str, Any] = RAGGED | {"q_lens": (1, 40), "q_len": 40, "form": "packed"}
