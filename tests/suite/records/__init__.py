"""Tests of suite/records."""
