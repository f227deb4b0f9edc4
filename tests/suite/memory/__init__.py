"""Tests of suite/memory."""
