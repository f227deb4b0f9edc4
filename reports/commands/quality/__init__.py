"""`lengths`: trains small models short, tests them long, and shows what was learned."""
