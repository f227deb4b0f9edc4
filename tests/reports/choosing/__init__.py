"""Tests of reports/choosing."""
