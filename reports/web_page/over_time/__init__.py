"""What a page shows of several runs: each cell's timeline, the steps in it, and its statuses."""
