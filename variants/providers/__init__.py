"""Attention of other projects, raced beside ours where it is installed."""
