"""Tests of reports.commands.results."""
