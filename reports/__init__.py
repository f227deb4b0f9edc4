"""What results mean: tables, comparisons and choices, made from results files without torch."""
