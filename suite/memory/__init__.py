"""The memory of a call: predicted before it runs, or weighed in a call of its own."""
