"""The mathematics: what ALiBi attention is and how to compute it. Knows nothing of measuring."""
