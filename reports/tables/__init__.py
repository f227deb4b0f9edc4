"""Tables: from records to rows, estimates and ranks."""
