"""The charts of a page as Vega-Lite by altair, how variants look in them, and pictures of them."""
