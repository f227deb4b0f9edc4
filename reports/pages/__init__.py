"""Texts for people: the lists of names, the doctor's report, and the atlas."""
