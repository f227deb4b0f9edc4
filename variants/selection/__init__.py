"""Selections: the variant measured to be best for each problem, read and interpolated; no torch."""
