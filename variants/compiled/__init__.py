"""Variants through torch.compile, and what builds graphs and C++."""
