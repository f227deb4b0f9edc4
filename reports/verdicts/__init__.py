"""Verdicts: what changed between two runs or two versions, and how sure that is."""
