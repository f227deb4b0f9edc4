"""Tests of what is installed: the wheel, and other versions of torch."""
