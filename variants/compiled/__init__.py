"""Variants through torch.compile, and the functions that compile graphs and C++."""
