"""Choosing: selections made from results, their advice, and what the advice costs."""
