"""The Triton kernels: what runs on the device. Importing them needs triton."""
