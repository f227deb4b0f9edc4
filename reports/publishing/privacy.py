"""Paths and host names in the strings of a results file: they say whose machine it was."""

import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

MOST_EXAMPLES = 3

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_PATH = re.compile(r"(?<![\w/.:])~?/(?:[\w.+@-]+/)+[\w.+@-]*")
_HOST = re.compile(
    r"\b[\w-]+(?:\.[\w-]+)*\.(?:local|internal|lan|corp|intranet|localdomain)\b"
    r"|\bip(?:-\d+){4}\b"
    r"|\b[\w.+-]+@[\w-]+\.[\w.-]+\b"
)
SHORTEST_HOST = 4
"""Shorter names, such as cpu or run, may be words of any file."""


class PrivateWords(NamedTuple):
    """What kind of words they are, some of them, and what to write for each: (old, new)."""

    what: str
    examples: tuple[str, ...]
    edits: tuple[tuple[str, str], ...]


def private_words(path: Path, host: str | None = None) -> Iterator[PrivateWords]:
    """Yield the paths and the host names in a results file's strings.

    `host` is this machine's name, by default the one that the system has.
    """
    strings = list(_strings(path.read_bytes()))
    paths = sorted({word for string in strings for word in _PATH.findall(string)})
    if paths:
        folders = sorted({f"{word.rpartition('/')[0]}/" for word in paths}, key=len, reverse=True)
        edits = tuple((folder, "") for folder in folders)
        yield PrivateWords("a path", tuple(paths[:MOST_EXAMPLES]), edits)
    pattern = _host_pattern(platform.node() if host is None else host)
    hosts = sorted({found[0] for string in strings for found in pattern.finditer(string)})
    if hosts:
        edits = tuple((name, "host") for name in sorted(hosts, key=len, reverse=True))
        yield PrivateWords("the name of a host", tuple(hosts[:MOST_EXAMPLES]), edits)


def _strings(content: bytes) -> Iterator[str]:
    """Yield every distinct string of JSON lines; what is no JSON string is damage, told apart."""
    for quoted in {found[0] for found in _STRING.finditer(content)}:
        try:
            yield msgspec.json.decode(quoted, type=str)
        except msgspec.DecodeError:
            continue


def _host_pattern(host: str) -> re.Pattern[str]:
    """Return the pattern of names that only a network has, and of this machine's own name."""
    names = sorted({host, host.partition(".")[0]} - {"localhost"}, reverse=True)
    words = [
        rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in names if len(name) >= SHORTEST_HOST
    ]
    return re.compile("|".join([*words, _HOST.pattern]))
