"""Tests of suite/quality/positions."""
