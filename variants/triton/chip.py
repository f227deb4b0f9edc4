"""What a launch has to know of the chip; Triton's interpreter plays one."""

import torch

_CAPABILITY, _PROCESSORS = 90, 132  # of an H100, which the interpreter plays


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
