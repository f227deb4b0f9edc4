"""Variants that call torch's scaled_dot_product_attention as it is."""
