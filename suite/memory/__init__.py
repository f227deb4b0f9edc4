"""How much memory a call takes: weighed after it ran, or predicted before."""
