"""Tests of variants/providers with stand-ins for other projects' packages."""
