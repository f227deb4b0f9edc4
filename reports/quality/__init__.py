"""What position methods buy, as a table and a picture, and what they cost."""
