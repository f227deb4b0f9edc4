"""Commands that measure on many devices: `run --device all`, and `fleet`."""
