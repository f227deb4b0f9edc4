"""Whether an answer is right: inputs, a float64 oracle, and errors held against a budget."""
