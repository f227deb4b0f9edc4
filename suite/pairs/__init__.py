"""A comparison of two versions of the code, in pairs of fresh processes."""
