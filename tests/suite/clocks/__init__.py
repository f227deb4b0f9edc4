"""Tests of suite/clocks."""
