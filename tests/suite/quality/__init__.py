"""Tests of suite/quality."""
