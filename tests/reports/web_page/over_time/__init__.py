"""Tests of what a page shows of several runs."""
