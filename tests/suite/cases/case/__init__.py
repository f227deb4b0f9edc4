"""A case: its names, its values, its useful work, and what makes none."""
