"""Tests of reports.commands.verdicts."""
