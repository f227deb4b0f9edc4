"""The probe: which variants run on this machine, tried in a process of their own."""
