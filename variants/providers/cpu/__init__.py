"""Other projects' kernels for CPUs."""
