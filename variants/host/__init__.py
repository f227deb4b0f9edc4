"""What this host is and has: its devices, its software, its cache folder; no torch."""
