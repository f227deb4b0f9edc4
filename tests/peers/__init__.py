"""Tests against other people's models; they need the extra `peers` and no `make test` runs them."""
