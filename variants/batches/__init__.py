"""Batches of sequences of unequal length, and the forms in which variants compute them."""
