"""The variant that calls SDPA on the keys that can matter, and the planning of its calls."""
