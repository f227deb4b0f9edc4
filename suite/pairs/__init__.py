"""Two versions of the code against each other, in pairs of fresh processes."""
