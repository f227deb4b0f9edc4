"""Tests of the scripts that measure for the docs."""
