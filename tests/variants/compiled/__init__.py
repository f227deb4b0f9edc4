"""Tests of variants/compiled."""
