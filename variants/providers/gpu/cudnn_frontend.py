"""cudnn: cuDNN's attention graph with its ALiBi mask.

For: prefill on NVIDIA GPUs where cuDNN is the fastest bias-free attention.
Not for: other slopes than the paper code's, bidirectional attention, gradients.

Bias: made inside, causal alone, of the paper code's slopes with a bias_max of 8. Queries are
aligned bottom-right. Not yet seen on a GPU. Source: nvidia-cudnn-frontend, graph.sdpa.
"""

from typing import Any

import torch
from torch import Tensor

from variants.problem import Attention, Spec, alibi_slopes
from variants.providers.package import Abilities, package
from variants.providers.slope_rules import with_its_slopes

_ABILITIES = Abilities("cuDNN", device="cuda", dtypes=("bfloat16", "float16"), head_dim_multiple=8)


def prepare(spec: Spec) -> Attention:
    """Return the attention of a graph, which is built from the first call's tensors."""
    _ABILITIES.decline(spec)
    cudnn = package("cudnn", "pip install nvidia-cudnn-frontend")
    graphs: dict[tuple[tuple[int, ...], ...], Any] = {}

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        out = torch.empty_like(q)
        strides = tuple(tensor.stride() for tensor in (q, k, v, out))
        if strides not in graphs:
            graphs[strides] = _Graph(cudnn, spec, q, k, v, out)
        graphs[strides](q, k, v, out)
        return out

    return with_its_slopes("cuDNN", alibi_slopes(spec.heads), spec, attention)


class _Graph:
    """A built graph of one attention, and the room that it works in."""

    def __init__(
        self, cudnn: Any, spec: Spec, q: Tensor, k: Tensor, v: Tensor, out: Tensor
    ) -> None:
        half = cudnn.data_type.HALF if spec.dtype == torch.float16 else cudnn.data_type.BFLOAT16
        self._graph = cudnn.pygraph(
            io_data_type=half,
            intermediate_data_type=cudnn.data_type.FLOAT,
            compute_data_type=cudnn.data_type.FLOAT,
        )
        self._inputs = [self._graph.tensor_like(tensor) for tensor in (q, k, v)]
        self._out, _ = self._graph.sdpa(
            *self._inputs,
            attn_scale=spec.scale,
            use_alibi_mask=True,
            diagonal_alignment=cudnn.diagonal_alignment.BOTTOM_RIGHT,
            diagonal_band_right_bound=0,
            generate_stats=False,
        )
        self._out.set_output(True).set_dim(out.size()).set_stride(out.stride())
        self._graph.build([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        self._room = torch.empty(
            self._graph.get_workspace_size(), dtype=torch.uint8, device=out.device
        )

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, out: Tensor) -> None:
        """Write attention into `out`."""
        tensors = dict(zip((*self._inputs, self._out), (q, k, v, out), strict=True))
        self._graph.execute(tensors, self._room)
