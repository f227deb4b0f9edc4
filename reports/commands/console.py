"""What a command shows, where a file of its own goes, and what it refuses."""

import os
import sys
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from suite.conditions.policy import ROOT

if TYPE_CHECKING:
    from suite.records.store import Results


def version() -> str:
    """Return this project's version: the installed one, or that of the checkout it runs from."""
    try:
        return metadata.version("alibi-bench")
    except metadata.PackageNotFoundError:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        return str(project["version"])


def show(text: str) -> None:
    """Print to stdout; a reader who has seen enough (`| head`) is no error."""
    try:
        click.echo(text)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)


def default_path(key: str) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return ROOT / "results" / f"{now}-{key}.jsonl"


def read_once(paths: Iterable[Path]) -> list["Results"]:
    """Read results files, each once however often it is named, and tell what is wrong with them."""
    from suite.records.store import read

    files = [read(path) for path in {os.path.realpath(path): path for path in paths}.values()]
    for file in files:
        warn(file.warnings)
    return files


def refuse_options(context: click.Context, names: Iterable[str], why: str) -> None:
    """Raise UsageError for an option among `names` that was given."""
    for name in names:
        if context.get_parameter_source(name) not in {
            ParameterSource.DEFAULT,
            ParameterSource.DEFAULT_MAP,
        }:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} {why}; drop {option}")
