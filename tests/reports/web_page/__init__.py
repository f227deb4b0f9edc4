"""Tests of the page of charts."""
