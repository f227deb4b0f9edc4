"""Pages to read: lists, the doctor's report, and docs/variants.md."""
