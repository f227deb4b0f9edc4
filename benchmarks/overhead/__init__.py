"""What this tool itself costs: a call of `auto`, a run, a fleet's job."""
