"""What `make docs` writes from docstrings and results: docs pages, tables, pictures, indexes."""
