"""Tests of suite/atlas."""
