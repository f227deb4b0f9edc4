"""Prints the hardware key of a device: python -m suite.fleet.ray.hardware_key cpu."""

import sys

from suite.conditions.device import NoDevice, device_for


def main(device: str) -> None:
    """Print the key, or why there is no such device, and exit with 2."""
    try:
        sys.stdout.write(f"{device_for(device).hardware.key}\n")
    except NoDevice as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
