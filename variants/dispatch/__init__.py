"""What stands between alibi_attention and a variant: checks, a cache, and the choice."""
