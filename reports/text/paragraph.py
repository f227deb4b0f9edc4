"""Paragraphs that fit a width. Words, paths and names are never broken."""

import shlex
import textwrap


def paragraph(text: str, width: int, hanging: str = "", first: str = "") -> str:
    """Return a line as lines of at most `width` characters.

    `first` begins the first line, `hanging` the others. A word longer than a line stays whole.
    """
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def shell_command(command: str, width: int, first: str, hanging: str) -> str:
    r"""Return a shell command that can be copied, on lines that end in \ where it is too long.

    An option stays on a line with its value.
    """
    words = [shlex.quote(word) for word in shlex.split(command)]
    parts: list[str] = []
    for word in words:
        if parts and parts[-1].startswith("--") and " " not in parts[-1] and word[:1] != "-":
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    lines = [first + parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" {part}"
        else:
            lines[-1] += " \\"
            lines.append(hanging + part)
    return "\n".join(lines)
