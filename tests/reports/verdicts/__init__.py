"""Tests of reports/verdicts."""
