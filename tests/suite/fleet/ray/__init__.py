"""Tests of suite.fleet.ray."""
