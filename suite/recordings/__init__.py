"""Recorded q, k and v of real models, which take the place of random numbers."""
