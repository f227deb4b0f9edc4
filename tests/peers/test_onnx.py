"""ONNX graphs of alibi_attention give the formula's answer, by either exporter of torch."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from tests.variants.batches.oracle import answer
from variants.attention import alibi_attention
from variants.problem import alibi_slopes


class Layer(torch.nn.Module):
    """Attention with some arguments, and padding where it is given."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return attention."""
        out: Tensor = alibi_attention(q, k, v, **self.arguments)
        return out


def draw_inputs(length: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(length)
    q = torch.randn(2, 4, length, 16)
    return q, torch.randn(2, 2, length, 16), torch.randn(2, 2, length, 16)


def run(file: Path, inputs: tuple[Tensor, ...]) -> Tensor:
    model = onnx.load(file)
    names = [value.name for value in model.graph.input]
    feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    return torch.from_numpy(ReferenceEvaluator(model).run(None, feed)[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arguments", [{}, {"variant": "sdpa_mask"}, {"window": (9, 0)}], ids=str)
@pytest.mark.parametrize("dynamo", [True, False])
def test_a_graph_answers_as_the_oracle_does(
    dynamo: bool, arguments: dict[str, Any], tmp_path: Path
) -> None:
    file, length = tmp_path / "layer.onnx", torch.export.Dim("length", min=2, max=999)
    shapes: dict[str, Any] = {"dynamic_shapes": ({2: length},) * 3} if dynamo else {}
    torch.onnx.export(Layer(**arguments), draw_inputs(40), file, dynamo=dynamo, **shapes)
    q, k, v = draw_inputs(61 if dynamo else 40)
    plain = {name: value for name, value in arguments.items() if name != "variant"}
    wanted = answer(q, k, v, alibi_slopes(4), **plain).out
    torch.testing.assert_close(run(file, (q, k, v)).double(), wanted, rtol=1e-4, atol=1e-5)
