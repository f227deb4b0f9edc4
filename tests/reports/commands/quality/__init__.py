"""Tests of reports.commands.quality."""
