"""Tests of suite/cases."""
