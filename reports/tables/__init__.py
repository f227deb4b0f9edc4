"""Tables of results: rows made from records, with estimates over passes and ranks."""
