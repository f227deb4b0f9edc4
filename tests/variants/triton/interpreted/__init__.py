"""The kernels as Triton's interpreter runs them: what they compute."""
