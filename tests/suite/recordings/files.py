"""Recordings for tests."""

from pathlib import Path

import torch
from safetensors.torch import save_file


def write_recording(
    path: Path,
    *,
    heads: int = 4,
    kv_heads: int = 2,
    length: int = 40,
    layers: tuple[str, ...] = ("layer0", "layer3"),
    **metadata: str,
) -> Path:
    """Write random bfloat16 tensors of heads of 16 as a recording."""
    torch.manual_seed(0)
    tensors = {
        f"{layer}.{name}": torch.randn(1, heads if name == "q" else kv_heads, length, 16).bfloat16()
        for layer in layers
        for name in "qkv"
    }
    save_file(tensors, path, metadata)
    return path
