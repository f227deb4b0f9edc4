"""Selections: which variant was measured to be best, read and interpolated without torch."""
