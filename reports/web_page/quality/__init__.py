"""What a page shows of files of `lengths`: bits per byte by length, and beside costs."""
