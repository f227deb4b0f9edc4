"""Figures with the unit that their magnitude asks for."""

from reports.tables.columns import three_digits

_TIMES = ((1e3, "s", 1e3), (1.0, "ms", 1.0), (1e-3, "us", 1e-3), (0.0, "ns", 1e-6))
_SIZES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))


def duration(milliseconds: float | None) -> str:
    """Return a time such as 786 us, 9.06 ms or 6.28 s; an empty text for None."""
    if milliseconds is None:
        return ""
    # 999.6 us is 1.00 ms: the unit is that of the figure as it is shown
    unit, per_ms = next(
        (unit, per_ms) for least, unit, per_ms in _TIMES if milliseconds >= 0.9995 * least
    )
    return f"{three_digits(milliseconds / per_ms)} {unit}"


def size(octets: int | None) -> str:
    """Return a number of bytes such as 688 KiB or 2.00 MiB; an empty text for None."""
    if octets is None:
        return ""
    for least, unit in _SIZES:
        if octets >= 0.9995 * least:
            return f"{three_digits(octets / least)} {unit}"
    return f"{octets} B"
