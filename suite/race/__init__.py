"""The race: all variants of one case take turns until the median of each is known well enough."""
