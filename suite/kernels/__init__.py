"""Kernels of a user's own: named on a command line, read, and imported in lanes."""
