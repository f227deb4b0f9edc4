"""The measuring: cases, lanes, agreement with the oracle, the race, and the results file."""
