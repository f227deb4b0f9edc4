"""Tests of reports.commands.many."""
