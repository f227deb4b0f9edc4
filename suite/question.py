"""From a question on the command line to the cases it is about; refuses what has no meaning."""

import re

from suite import plan
from suite.asked import BadRequest
from suite.case import Case
from suite.sweeps import DEFAULT_SWEEPS


def cases(
    *,
    models: str | None,
    length: str,
    mode: str,
    dtype: str,
    q_len: int | None,
    batch: int | None,
    heads: int | None,
    kv_heads: int | None,
    head_dim: int | None,
    noncausal: bool,
    layout: str | None,
    logit_scale: float | None,
) -> list[Case]:
    """Return the cases that a question is about; what it does not name is as usual.

    Raises BadRequest as a plan does, in the question's own words.
    """
    try:
        whole = plan.plan(
            device="cpu",
            sweep=None if models else DEFAULT_SWEEPS["cpu"],
            models=models,
            lengths=length,
            dtypes=dtype,
            modes=mode,
            q_len=q_len,
            seq_lens=None,
            variants=None,
            batch=batch,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            noncausal=noncausal,
            layout=layout,
            logit_scale=logit_scale,
            passes=None,
            seed=0,
            step_timeout="120s",
        )
    except BadRequest as error:
        raise BadRequest(re.sub(r"--(length|mode|dtype)s\b", r"--\1", str(error))) from None
    return list(whole.cases)
