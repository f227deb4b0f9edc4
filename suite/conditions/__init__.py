"""The conditions of a measurement: device, policy, the GPU's state, and what disturbs it."""
