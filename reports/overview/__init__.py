"""Results for people: who is fastest, what to use, every row, and what to be careful about."""
