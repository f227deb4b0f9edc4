"""Runs on all GPUs of this machine at once, each a process of its own."""
