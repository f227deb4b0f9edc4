"""Runs on the nodes of a Ray cluster: what is shipped, done there, and driven from here."""
