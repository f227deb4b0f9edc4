"""The variant that calls SDPA on the keys that can matter, and its plan."""
