"""Pages for people: the lists of names, the doctor's report, and docs/variants.md."""
