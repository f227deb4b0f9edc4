"""Tests of suite/kernels."""
