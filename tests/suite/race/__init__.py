"""Tests of suite/race."""
