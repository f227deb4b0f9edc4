"""The C++ kernel built for Arm, whose processor QEMU plays."""
