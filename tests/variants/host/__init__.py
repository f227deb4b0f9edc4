"""Tests of variants/host."""
