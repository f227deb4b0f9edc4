"""One named backend of torch's SDPA, and why torch refuses it where it does."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from variants.problem import Attention, Unsupported

ONLY_CUDA = {
    "efficient": "the efficient backend is CUDA's",
    "cudnn": "the cuDNN backend is CUDA's",
    "math": "the math backend is forced on CUDA only",
}
_BACKENDS = {
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}


def force_backend(attention: Attention, backend: str) -> Attention:
    """Return attention on one backend; a call raises Unsupported where torch refuses it."""
    on_backend: Attention = sdpa_kernel(_BACKENDS[backend])(attention)

    def attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        try:
            return on_backend(q, k, v, slopes)
        except RuntimeError as refusal:
            if "No available kernel" not in str(refusal):
                raise
            why = _reasons(partial(on_backend, q, k, v, slopes), backend)
            raise Unsupported(f"torch's {backend} backend refuses: {why}") from refusal

    return attend


def _reasons(call: Callable[[], object], backend: str) -> str:
    """Repeat a call that torch refused and return its warnings about the backend: the reasons."""
    with warnings.catch_warnings(record=True) as caught, suppress(RuntimeError):
        warnings.simplefilter("always")
        call()
    reasons, heading = [], ""
    for text in (str(warning.message).partition(" (Triggered")[0] for warning in caught):
        if text.endswith("not used because:"):
            heading = text.lower()
        elif backend in heading:
            reasons.append(text)
    return " ".join(reasons) or "it gives no reason"
