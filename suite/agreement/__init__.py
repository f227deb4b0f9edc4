"""Whether an answer is right: a float64 oracle, its inputs, and the errors against it."""
