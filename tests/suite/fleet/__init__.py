"""Tests of suite.fleet."""
