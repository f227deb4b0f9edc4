"""Results in the formats of tools that track benchmarks, and the JSON schemas of our own."""
