"""What `page` writes: an index.html with charts and filters, pictures, and a report.md."""
