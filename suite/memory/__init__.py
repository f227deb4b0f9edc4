"""The memory of a call: predicted before it runs, or weighed in an extra call."""
