"""What is done on a node: its devices told, its Python found, and `run` in a process of its own."""
