"""How text fits where it goes: a terminal's width, paragraphs, grids of columns, minutes."""
