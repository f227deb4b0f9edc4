"""Variants through FlexAttention, and the BlockMasks that they hand to it."""
