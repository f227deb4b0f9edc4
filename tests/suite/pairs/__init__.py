"""Tests of suite/pairs."""
