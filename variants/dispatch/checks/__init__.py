"""The checks of alibi_attention before it calls any variant."""
