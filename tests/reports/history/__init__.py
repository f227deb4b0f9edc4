"""Tests of reports/history."""
