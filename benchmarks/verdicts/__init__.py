"""How often the judge, the clock and the verdicts are wrong."""
