"""The limits of a record's numbers: what a file says beyond them is damage.

Readers take logarithms, ratios and powers of these numbers. Within the limits none of that fails.
"""

import msgspec

from suite.clocks.series import Turns

MOST_BYTES = 1 << 50
MOST_COUNT = 1 << 40
MOST_NS = 10**15  # eleven days
MOST_S = 1e9
MOST_NUMBER = 1e30
MOST_CHARACTERS = 400


def check_range(record: msgspec.Struct, least: float, most: float, *names: str) -> None:
    """Raise ValueError for a field that has a value and not one from `least` to `most`."""
    for name in names:
        value = getattr(record, name)
        if value is not None and not least <= value <= most:
            raise ValueError(f"{name} {value} is not from {least:g} to {most:g}")


def check_turns(turns: Turns, least_ns: int) -> None:
    """Raise ValueError for turns without samples, or with samples that are out of range."""
    if not turns or any(
        not samples or min(samples) < least_ns or max(samples) > MOST_NS for _, samples in turns
    ):
        raise ValueError(f"needs turns, each with samples from {least_ns} to {MOST_NS} ns")


def check_words(record: msgspec.Struct) -> None:
    """Raise ValueError for a text that is too long, or that a terminal would take for commands."""
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, str) and not (value.isprintable() and len(value) <= MOST_CHARACTERS):
            raise ValueError(f"{name} is not up to {MOST_CHARACTERS} printable characters")


def printable(line: bytes) -> bytes:
    """Return a line of JSON without texts that a terminal would take for commands.

    Files come from strangers. Newlines in a text would forge a line of a table, and other control
    characters, also those that turn the direction of writing, change what is shown.
    """
    if b"\\" not in line and b"\x7f" not in line and line.isascii():
        return line
    try:
        return msgspec.json.encode(_printable(msgspec.json.decode(line)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return line  # damage, which its reader reports


def printable_text(text: str) -> str:
    """Return a text with a space for each character that is not printed as itself."""
    return "".join(each if each.isprintable() else " " for each in text)


def _printable(value: object) -> object:
    if isinstance(value, str):
        return printable_text(value)
    if isinstance(value, dict):
        return {printable_text(str(name)): _printable(each) for name, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list) else value
