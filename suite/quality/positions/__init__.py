"""How attention is told positions: ALiBi, RoPE and its scalings, T5's bias, sinusoids."""
