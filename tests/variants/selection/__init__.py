"""Tests of variants/selection."""
