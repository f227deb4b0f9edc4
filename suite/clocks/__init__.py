"""How a call is timed on a CPU and on a GPU, and how fast the machine is."""
