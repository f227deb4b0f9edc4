"""Tiles that a bounded search found on a device, and the file that they are kept in."""
