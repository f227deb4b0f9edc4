"""Lanes: child processes that each run one variant, and the parent's end of the wire to them."""
