"""Tests of suite/recordings."""
