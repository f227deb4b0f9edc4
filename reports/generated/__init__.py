"""What `make docs` writes from docstrings and published results: pages, pictures and indexes."""
