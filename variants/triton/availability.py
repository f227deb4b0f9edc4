"""Whether the Triton kernel can run here: Triton, a GPU that is new enough, or its interpreter."""

import os
from importlib.util import find_spec

import torch

from variants.problem import Spec, Unsupported

OLDEST_GPU = (8, 0)  # the first that has the loads and the bfloat16 products which the kernel uses


def is_interpreted() -> bool:
    """Return whether Triton's interpreter runs kernels, on a CPU: TRITON_INTERPRET=1."""
    return os.environ.get("TRITON_INTERPRET", "0") in {"1", "true", "on", "yes", "y"}


def check_available(spec: Spec) -> None:
    """Raise Unsupported, with what would help, where the kernel can't run for a spec."""
    if spec.device.type == "cpu" and not is_interpreted():
        raise Unsupported(
            "the kernel is for CUDA; native_window leaves out the same on a CPU "
            "(TRITON_INTERPRET=1 runs it there for tests, thousands of times slower)"
        )
    if find_spec("triton") is None:
        raise Unsupported(
            "Triton is not installed; torch for CUDA brings it, or: pip install triton"
        )
    if spec.device.type == "cuda":
        if torch.version.hip is not None:
            raise Unsupported("the kernel has tiles for NVIDIA's GPUs alone")
        if (found := torch.cuda.get_device_capability(spec.device)) < OLDEST_GPU:
            raise Unsupported(f"compute capability {found[0]}.{found[1]}: the kernel needs 8.0")
    elif spec.dtype == torch.bfloat16:
        raise Unsupported("Triton's interpreter multiplies bfloat16 wrongly; take another dtype")
