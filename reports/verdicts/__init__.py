"""Verdicts: which cells changed between two runs or two versions, and how certain that is."""
