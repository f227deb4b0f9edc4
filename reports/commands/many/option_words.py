"""The options of a command line as words, to be handed on to runs of other devices."""

from collections.abc import Collection

import click
from click.core import ParameterSource


def option_words(context: click.Context, leave_out: Collection[str]) -> list[str]:
    """Return the words of the options that the user gave, but for those named in `leave_out`."""
    words: list[str] = []
    for option in context.command.params:
        name, value = option.name or "", context.params.get(option.name or "")
        source = context.get_parameter_source(name)
        if name in leave_out or source in {ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP}:
            continue
        for each in value if isinstance(value, tuple) else (value,):
            words += [option.opts[0], *([] if each is True else [str(each)])]
    return words
