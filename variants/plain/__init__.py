"""Stock torch as one writes it first: the formula, and the two baselines without a bias."""
