"""compile: torch.compile of eager, so that inductor may fuse bias, mask and softmax.

Stores the compiled graph, one a shape. The scores still pass through memory between the two matrix
products, but the bias and the mask need not. Source: the same formula as eager.
"""

from variants import eager
from variants.compiling import compiled
from variants.problem import Attention, Spec


def prepare(spec: Spec) -> Attention:
    """Return eager's attention compiled; the graph is built at the first call."""
    attention = eager.prepare(spec)

    def formula(q, k, v, slopes):  # type: ignore[no-untyped-def]
        return attention(q, k, v, slopes)

    return compiled(formula, spec.device)
