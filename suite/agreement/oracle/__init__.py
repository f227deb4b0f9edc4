"""The oracle: the formula of ALiBi attention in float64, in portions that stay small."""
