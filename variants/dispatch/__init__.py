"""The steps between alibi_attention and a variant: checks, a cache, and the choice of a variant."""
