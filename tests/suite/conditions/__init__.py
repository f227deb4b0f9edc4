"""Tests of suite/conditions."""
