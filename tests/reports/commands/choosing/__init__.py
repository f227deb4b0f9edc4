"""Tests of `choose`, `best` and `regret` as commands."""
