"""What a measurement depends on: the device, its policy, its driver, and what disturbs it."""
