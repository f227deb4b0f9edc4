"""Tests of reports.commands.run."""
