"""Tests of suite/quality/text."""
