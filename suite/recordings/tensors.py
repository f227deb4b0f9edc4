"""The tensors of a recorded layer, changed so that nobody can know them and no score differs."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from suite.recordings.names import digest_of, file_and_layer


class RecordedTensors(NamedTuple):
    """q [batch, heads, length, head_dim], k and v [batch, kv_heads, length, head_dim], slopes."""

    q: Tensor
    k: Tensor
    v: Tensor
    slopes: Tensor | None


class ChangedRecording(Exception):  # noqa: N818 - the lane answers with it
    """A recording is not what the run began with."""


@lru_cache(maxsize=2)
def load(recording: str) -> RecordedTensors:
    """Return the tensors of a case's recording. Raises ChangedRecording if its file has changed."""
    from safetensors import safe_open

    path, layer, digest = file_and_layer(recording)
    if digest_of(path) != digest:
        raise ChangedRecording(f"{path.name} has changed since this run began")
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        q, k, v = (file.get_tensor(f"{layer}.{name}") for name in "qkv")
        has_slopes = f"{layer}.slopes" in names
        slopes = file.get_tensor(f"{layer}.slopes").float() if has_slopes else None
    return RecordedTensors(q, k, v, slopes)


def draw_recorded(
    recording: str, q_len: int, kv_len: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return q, k and v of a recording's kv_len tokens from a random one on, on the CPU.

    Queries are the last q_len of these tokens. Random channels have their sign changed, the same
    ones in q and k, so that no score and no norm differs and yet a variant can't know the numbers.
    """
    recorded, generator = load(recording), torch.Generator().manual_seed(seed)
    _, kv_heads, length, head_dim = recorded.k.shape
    first = int(torch.randint(length - kv_len + 1, (1,), generator=generator))
    end, groups = first + kv_len, recorded.q.shape[1] // kv_heads

    def signs() -> Tensor:
        ones = torch.randint(2, (1, kv_heads, 1, head_dim), generator=generator) * 2 - 1
        return ones.to(recorded.k.dtype)

    k_signs, v_signs = signs(), signs()
    q = recorded.q[:, :, end - q_len : end] * k_signs.repeat_interleave(groups, 1)
    return q, recorded.k[:, :, first:end] * k_signs, recorded.v[:, :, first:end] * v_signs
