"""Words and numbers of a command line, each read or refused in one line.

Every function takes the option's name first, so that the refusal can name it.
"""

import difflib
import math
from collections.abc import Iterable, Sequence

from suite.cases import mixed_batch
from suite.cases.case import LARGEST
from suite.failures import BadRequest

LEAST_PAIRS, MOST_PAIRS = 4, 1000
_DTYPE_ALIASES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def words(option: str, text: str) -> list[str]:
    """Return the words of a comma-separated list, each once. Raises BadRequest for an empty one."""
    split = [word.strip() for word in text.split(",")]
    if not all(split):
        raise BadRequest(f"{option} {text!r}: name at least one, separated by single commas")
    return list(dict.fromkeys(split))


def name(option: str, word: str, names: Iterable[str]) -> str:
    """Return `word` if it is among the names. Raises BadRequest that suggests the nearest."""
    allowed = list(names)
    if word in allowed:
        return word
    near = difflib.get_close_matches(word, allowed, n=1)
    hint = f"did you mean {near[0]}? There are" if near else "there are"
    raise BadRequest(f"{option} {word}: no such name; {hint} {', '.join(allowed)}")


def names(option: str, text: str | None, allowed: Sequence[str]) -> tuple[str, ...] | None:
    """Read a list of names that are allowed; None stays None. Raises BadRequest."""
    if text is None:
        return None
    return tuple(name(option, word, allowed) for word in words(option, text))


def dtypes(option: str, text: str | None, allowed: Sequence[str]) -> tuple[str, ...] | None:
    """Read a list of dtypes; bf16, fp16 and fp32 are understood. None stays None.

    Raises BadRequest.
    """
    if text is None:
        return None
    full = [_DTYPE_ALIASES.get(word, word) for word in words(option, text)]
    return names(option, ",".join(full), allowed)


def seconds(option: str, text: str) -> float:
    """Read a duration such as 90s, 8m or 1h. Raises BadRequest for anything else."""
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = text[:-1], text[-1:]
    try:
        value = float(number) * units[unit]
    except (ValueError, KeyError):
        value = 0.0
    if not 0 < value < 7 * 24 * 3600:
        raise BadRequest(f"{option} {text}: give a duration such as 90s, 8m or 1h")
    return value


def part(option: str, text: str | None) -> tuple[int, int] | None:
    """Read a part such as 2/3, the second of three; None stays None. Raises BadRequest."""
    if text is None:
        return None
    number, mark, count = text.partition("/")
    if not (mark and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise BadRequest(f"{option} {text}: give a part such as 2/3, the second of three")
    return int(number), int(count)


def share(option: str, text: str, *, below: float = 1.0) -> float:
    """Read a share such as 5%, less than `below`. Raises BadRequest for anything else."""
    try:
        value = float(text.removesuffix("%")) / 100 if text.endswith("%") else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value < below:
        raise BadRequest(f"{option} {text}: give a share such as 5%, below {below:.0%}")
    return value


def size_bytes(option: str, text: str) -> int:
    """Read a size such as 512MiB, in bytes. Raises BadRequest for anything else."""
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    try:
        value = int(float(text[:-3]) * units[text[-3:]])
    except (ValueError, KeyError, OverflowError):
        value = 0
    if not 0 < value <= 1 << 50:
        raise BadRequest(f"{option} {text}: give a size such as 512MiB or 2GiB")
    return value


def pairs(number: int) -> int:
    """Return a number of pairs. Raises BadRequest below what statistics can use."""
    if not LEAST_PAIRS <= number <= MOST_PAIRS:
        raise BadRequest(f"--pairs {number}: give at least {LEAST_PAIRS} and at most {MOST_PAIRS}")
    return number


def lengths(option: str, text: str | None) -> tuple[int, ...] | None:
    """Read sequence lengths, each once; None stays None. Raises BadRequest."""
    if text is None:
        return None
    return tuple(dict.fromkeys(_length(option, word) for word in words(option, text)))


def batch_lengths(option: str, text: str | None) -> tuple[int, ...] | None:
    """Read the lengths of one batch's sequences, which may be equal; None stays None.

    Raises BadRequest.
    """
    if text is None:
        return None
    return tuple(_length(option, word.strip()) for word in text.split(","))


def requests(
    option: str, text: str | None
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """Read a server's batch as the queries and the keys of its sequences; None stays None.

    Raises BadRequest.
    """
    if text is None:
        return None, None
    try:
        return mixed_batch.read(text)
    except ValueError as error:
        raise BadRequest(f"{option} {error}") from None


def _length(option: str, word: str) -> int:
    try:
        length = int(word)
    except ValueError:
        raise BadRequest(f"{option} {word}: a length is a whole number of tokens") from None
    if length < 1:
        raise BadRequest(f"{option} {length}: a length is at least 1")
    if length > LARGEST:
        raise BadRequest(f"{option} {length}: a length is at most {LARGEST}")
    return length


def count(option: str, number: int | None) -> int | None:
    """Return a count of at least 1, or None. Raises BadRequest."""
    if number is not None and number < 1:
        raise BadRequest(f"{option} {number}: give at least 1")
    if number is not None and number > LARGEST:
        raise BadRequest(f"{option} {number}: give at most {LARGEST}")
    return number


def factor(option: str, number: float | None) -> float | None:
    """Return a factor over 0 and at most 1000, or None. Raises BadRequest."""
    if number is not None and not 0 < number <= 1000:
        raise BadRequest(f"{option} {number:g}: give a factor over 0, at most 1000")
    return number


def seed(option: str, number: int) -> int:
    """Return a seed from 0 to 2^63 - 1. Raises BadRequest."""
    if not 0 <= number < 1 << 63:
        raise BadRequest(f"{option} {number}: give a number from 0 to 2^63 - 1")
    return number
