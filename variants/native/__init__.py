"""The variant with a C++ kernel of our own: the kernel's sources and its torch operator."""
