"""The survey: every row of every head beside the formula in float32, before any in float64.

In float32 a check of all rows of a long case takes seconds, in float64 it would take minutes. The
survey finds the rows that look worst, and those are compared in float64.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vector_norm

from suite.agreement.errors import ErrorMeasure, WorstError, least_row, worst_of
from suite.agreement.oracle.evaluate import Formula
from suite.agreement.oracle.portions import portions

WORST_ROWS = 32


class Survey(NamedTuple):
    """What the survey found.

    `row_errors` [q_len] is the largest relative error of each query row in any head, of out and dq.
    `of_keys` has the worst error of dk's and dv's heads, then of their rows.
    """

    row_errors: Tensor
    of_keys: dict[str, list[WorstError]]


def survey(formula: Formula, answers: Mapping[str, Tensor], least: Mapping[str, float]) -> Survey:
    """Compare all rows of the answers (out, dq, dk, dv) with the formula in float32.

    `formula` has all rows. `least` has the norm below which a row counts as zero, by answer.
    """
    row_errors = torch.zeros(formula.spec.q_len, device=formula.rows.device)
    of_keys: dict[str, list[list[WorstError]]] = {}
    keys = torch.arange(formula.spec.kv_len, device=formula.rows.device)
    groups = (group for portion in portions(formula.spec) for group in portion.by_groups())
    for portion in groups:
        for block in formula.survey_blocks(portion):
            for name, truth in block.of_queries.items():
                answer = block.portion.of_queries(answers[name])[:, :, block.rows]
                size = vector_norm(truth, dim=3).clamp(min=max(least[name], 1e-30))
                if name == "dq":
                    size = size.maximum(least_row(truth))
                error = vector_norm(answer.float() - truth, dim=3) / size  # [batch, heads, rows]
                worst = error.nan_to_num(nan=math.inf).amax(dim=(0, 1))
                row_errors[block.rows] = row_errors[block.rows].maximum(worst)
            first = portion.batch.start, portion.kv_heads.start
            for name, truth in block.of_keys.items():
                exact = truth.double()
                measure = ErrorMeasure(name, exact, exact, first, keys, least[name])
                errors = list(measure.worst(portion.of_keys(answers[name])))
                of_keys.setdefault(name, []).append(errors)
    merged = {
        name: [worst_of(errors) for errors in zip(*by_portion, strict=True)]
        for name, by_portion in of_keys.items()
    }
    return Survey(row_errors, merged)


def worst_rows(row_errors: Tensor, rows: Tensor) -> Tensor:
    """Return `rows`, sorted, with the 32 rows beside them whose errors are largest."""
    others = row_errors.clone()
    others[rows] = -1.0
    worst = others.topk(min(WORST_ROWS, len(others) - len(rows))).indices
    return torch.cat([rows, worst]).sort().values
