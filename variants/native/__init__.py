"""The variant with a C++ kernel of our own: its operator and its sources."""
