"""Rotary embedding inside of the call: the baselines of models that turn queries and keys."""
