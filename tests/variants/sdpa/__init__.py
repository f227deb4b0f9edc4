"""Tests of variants/sdpa."""
