"""Results from strangers: what is wrong with a results file, and where a good one is filed."""
