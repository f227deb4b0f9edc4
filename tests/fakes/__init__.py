"""Variants that do wrong on demand, for tests of what surrounds them."""
