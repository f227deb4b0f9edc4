"""Words of results as GitHub's Markdown shows them, whatever is in them."""

import re


def text(words: str) -> str:
    """Return words on one line, with a backslash before what Markdown or HTML would read.

    An underscore between letters or digits is left alone, as Markdown leaves it.
    """
    escaped = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|[\\`*\[\]<>#|~$&]", r"\\\g<0>", words)
    return " ".join(escaped.split()).replace("\\<", "&lt;").replace("\\&", "&amp;")
