"""What a contender is held against beside the oracle: clock, device, and a small case."""
