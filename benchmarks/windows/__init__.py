"""What variants that leave keys out look at, and what their bounds cost."""
