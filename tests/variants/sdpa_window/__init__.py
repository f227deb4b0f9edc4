"""Tests of variants/sdpa_window."""
