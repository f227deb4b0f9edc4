"""What a launch has to know of the chip, and what its TMA can load; the interpreter plays one.

TMA is a unit of sm_90 and later that loads a tile by a descriptor of the whole tensor.
"""

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from variants.triton.tiles import padded_width

_CAPABILITY, _PROCESSORS = 90, 132  # of an H100, which the interpreter plays
_FIRST_WITH_TMA = 90
_ALIGNMENT = 16  # bytes
_STRIDE_END = 1 << 40  # bytes
_WIDE = 128  # bytes


def capability(device: torch.device) -> int:
    """Return the compute capability of a device, such as 90."""
    if device.type != "cuda":
        return _CAPABILITY
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def processors(device: torch.device) -> int:
    """Return how many streaming multiprocessors a device has."""
    if device.type != "cuda":
        return _PROCESSORS
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def has_tma(device: torch.device) -> bool:
    """Return whether a chip has TMA."""
    return torch.version.hip is None and capability(device) >= _FIRST_WITH_TMA


def tma_can_load(tensor: Tensor) -> bool:
    """Return whether a descriptor can describe a tensor whose last stride is 1."""
    return is_not_empty(tensor) and begins_aligned(tensor) and has_aligned_strides(tensor)


def is_not_empty(tensor: Tensor) -> bool:
    """Return whether no size is 0, which a descriptor can't have."""
    return tensor.numel() > 0


def begins_aligned(tensor: Tensor) -> bool:
    """Return whether the first element lies at a multiple of 16 bytes."""
    return tensor.data_ptr() % _ALIGNMENT == 0


def has_aligned_strides(tensor: Tensor) -> bool:
    """Return whether all strides but the last are multiples of 16 bytes, from 16 to under 2^40.

    A stride of 0, of a tensor that was expanded, is none of these.
    """
    strides = [stride * tensor.element_size() for stride in tensor.stride()[:-1]]
    return all(0 < stride < _STRIDE_END and stride % _ALIGNMENT == 0 for stride in strides)


def has_wide_rows(tensor: Tensor) -> bool:
    """Return whether a tile's rows have 128 bytes; TMA saves nothing in narrower ones."""
    return padded_width(tensor.shape[-1]) * tensor.element_size() >= _WIDE


def descriptor(tensor: Tensor, rows: int, width: int) -> TensorDescriptor:
    """Return what TMA loads tiles by: `rows` of a head of [batch, heads, length, head_dim].

    They are `width` wide. What the tensor lacks is 0, so the rows past a head's last are not the
    next head's.
    """
    return TensorDescriptor(tensor, list(tensor.shape), list(tensor.stride()), [1, 1, rows, width])
