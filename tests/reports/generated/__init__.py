"""Tests of reports/generated."""
