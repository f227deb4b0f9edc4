"""The mathematics: what ALiBi attention is, and every way to compute it. Measures nothing."""
