"""History: each cell's time from run to run, the steps in it, and what made them."""
