"""Tests of the examples, which they run as a reader does."""
