"""Tests of suite/quality/model."""
