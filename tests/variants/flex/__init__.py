"""Tests of variants/flex."""
