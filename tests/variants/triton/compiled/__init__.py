"""The kernels as Triton compiles them for GPUs: what their machine code is made of."""
