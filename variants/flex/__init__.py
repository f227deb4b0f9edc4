"""Variants through FlexAttention, and the BlockMasks that they pass to it."""
