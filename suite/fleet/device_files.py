"""The results files of a machine's devices: one each, named by the device.

It imports nothing, because a node of a fleet may lack this project's packages.
"""

from pathlib import Path


def device_path(path: Path, device: str) -> Path:
    """Return the path of a device's file beside `path`: x.jsonl becomes x-cuda0.jsonl for cuda:0.

    The CPU's is `path` itself.
    """
    if device == "cpu":
        return path
    return path.with_name(f"{path.stem}-{device.replace(':', '')}{path.suffix}")
