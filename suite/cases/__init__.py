"""What is measured: cases, sweeps, models, and the request and plan made from a command line."""
