"""Reads results files, without torch: tables, comparisons and choices of variants."""
