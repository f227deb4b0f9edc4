"""Tests of suite/lanes."""
