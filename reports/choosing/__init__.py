"""Chooses variants: selections made from results, advice from selections, and its cost."""
