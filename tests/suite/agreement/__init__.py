"""Tests of suite/agreement."""
