"""A time in minutes and seconds, as progress tells what is left."""


def in_minutes(seconds: float) -> str:
    """Return a time such as 2m05s, or 41s under a minute."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
