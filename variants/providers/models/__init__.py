"""Attention as other projects' models in torch compute it."""
