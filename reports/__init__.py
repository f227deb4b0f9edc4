"""Reads results files, without torch: tables, pages, comparisons, choices, and exports."""
