"""Tests of suite/agreement/oracle."""
