"""Commands that read results files, and show or hand on what is in them."""
