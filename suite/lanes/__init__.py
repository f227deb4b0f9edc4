"""Lanes: one child process for one variant, with both ends of the wire to it."""
