"""Tests of a page's part on quality."""
