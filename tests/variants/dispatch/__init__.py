"""Tests of variants/dispatch."""
