"""Tests of suite.fleet.ray.on_node."""
