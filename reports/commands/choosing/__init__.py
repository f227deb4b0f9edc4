"""The commands that choose a variant: make a selection, ask it for advice, price the advice."""
