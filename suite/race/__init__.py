"""The race: all variants of one case in turns, until each is known well enough."""
