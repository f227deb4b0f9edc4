"""A small decoder: its layers, its training, and its test at each length."""
