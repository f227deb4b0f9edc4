"""Prints a node's devices of a kind: python -m suite.fleet.ray.on_node.devices cuda."""

import sys

from suite.conditions.device import NoDevice, all_gpus, device_for


def main(kind: str) -> None:
    """Print the name and hardware key of each device of a kind, a line each; cuda are all GPUs.

    Prints why there is none, and exits with 1.
    """
    try:
        devices = all_gpus() if kind == "cuda" else [device_for(kind)]
    except NoDevice as error:
        sys.exit(f"Error: {error}")
    for device in devices:
        sys.stdout.write(f"{device.name} {device.hardware.key}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
