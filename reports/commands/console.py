"""Shared by the commands: output, warnings, default paths, reading, refused options."""

import os
import sys
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from suite.conditions.device import Device
from variants.host.installation import results_folder

if TYPE_CHECKING:
    from suite.quality.results import LengthsResults
    from suite.records.store import Results


def show(text: str) -> None:
    """Print to stdout. A reader that closes the pipe early, as `head` does, is no error."""
    try:
        click.echo(text)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(warnings: Iterable[str]) -> None:
    """Print warnings to stderr, a line each."""
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)


def warn_of_troubles(device: Device) -> None:
    """Print what spoils measurements on a device, as `doctor` does; takes half a second."""
    from suite.conditions.health import troubles
    from suite.conditions.nvml import gpu_state

    state = gpu_state(device.uuid)
    warn(
        f"{trouble.what}; {trouble.help}"
        for trouble in troubles(device.hardware, os.environ, state)
    )


def default_path(key: str) -> Path:
    """Return the path of a new results file: the time in UTC and `key`, in results/."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return results_folder() / f"{now}-{key}.jsonl"


def read_once(paths: Iterable[Path], old_warnings: Container[str] = ()) -> list["Results"]:
    """Read results files, each once even if it is named twice, and print their warnings.

    Warnings among `old_warnings` are not printed again. Raises UsageError for a copy of another,
    whose passes would count twice.
    """
    from suite.records.store import read

    files = [read(path) for path in _each_once(paths)]
    for file in files:
        warn(line for line in file.warnings if line not in old_warnings)
    _refuse_copies(files)
    return files


def _refuse_copies(files: Iterable["Results"]) -> None:
    """Raise UsageError for a file with a race of another; every race has a number of its own."""
    from suite.records.record import Time

    paths: dict[int, Path] = {}
    for file in files:
        races = {time.race for time in file.records if isinstance(time, Time) and time.race}
        if shared := races & paths.keys():
            other = paths[min(shared)]
            raise click.UsageError(
                f"{file.path}: it has races of {other} too, which would count twice; name one"
            )
        paths |= dict.fromkeys(races, file.path)


def read_lengths_once(paths: Iterable[Path]) -> list["LengthsResults"]:
    """Read files of `lengths` as `read_once` does those of races."""
    from suite.quality.results import read

    files = [read(path) for path in _each_once(paths)]
    for file in files:
        warn(file.warnings)
    return files


def _each_once(paths: Iterable[Path]) -> Iterable[Path]:
    return {os.path.realpath(path): path for path in paths}.values()


def refuse_existing(path: Path, instead: str) -> None:
    """Raise UsageError if a results file that is to be new exists; `instead` says what to do."""
    if path.exists():
        raise click.UsageError(f"--out {path} exists; {instead}")


def write_folder(folder: Path, texts: Mapping[str, str]) -> None:
    """Write texts to files by their paths in a folder, which is made if need be.

    Raises UsageError for a file that can't be written.
    """
    for name, text in texts.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise click.UsageError(f"--out: {path}: {error.strerror or error}") from None


def refuse_other_files(folder: Path, names: Container[str]) -> None:
    """Raise UsageError if a folder has a file of another name, which whoever reads it would read.

    Such a file may be of a run that is no longer to be shown.
    """
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in names:
            raise click.UsageError(
                f"--out {folder} has {name}, which is not of this export; remove it, or name a "
                "new folder"
            )


def refuse_options(context: click.Context, names: Iterable[str], why: str) -> None:
    """Raise UsageError if the user gave one of the options `names`; `why` completes the message."""
    wanted = set(names)
    for parameter in context.command.params:
        if parameter.name in wanted and context.get_parameter_source(parameter.name) not in {
            None,  # another command called this one
            ParameterSource.DEFAULT,
            ParameterSource.DEFAULT_MAP,
        }:
            option = parameter.opts[0]
            raise click.UsageError(f"{option} {why}; drop {option}")
