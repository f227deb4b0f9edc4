"""Runs on many devices: all GPUs of this machine at once, or the nodes of a Ray cluster."""
