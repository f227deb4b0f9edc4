"""The variant with a Triton kernel of our own: its launches, its tiles and its gradients."""
