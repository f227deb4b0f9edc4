"""Tests of reports/publishing."""
