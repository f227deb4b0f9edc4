"""Other projects' kernels for NVIDIA GPUs."""
