"""Stock torch as one writes it first: the formula, the baseline without a bias, and T5's bias."""
