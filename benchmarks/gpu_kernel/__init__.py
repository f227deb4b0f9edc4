"""The first ten minutes of triton_window on a GPU, in one command."""
