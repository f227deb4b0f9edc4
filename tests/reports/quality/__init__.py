"""Tests of reports/quality."""
