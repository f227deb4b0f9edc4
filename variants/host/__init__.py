"""The host: its devices, its software and its cache folder, read without torch."""
