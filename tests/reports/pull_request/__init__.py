"""Tests of reports/pull_request."""
