"""How text fits where it goes: the width of a terminal, paragraphs, and grids of columns."""
