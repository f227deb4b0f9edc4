"""Tests of variants/native."""
