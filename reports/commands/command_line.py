"""The command line: joins the commands, and turns how they end into an exit code and a line."""

import os
import signal
import sys
from pathlib import Path
from threading import Timer
from traceback import extract_tb
from types import FrameType
from typing import NoReturn

import click

from reports.commands.choosing.best import best
from reports.commands.choosing.choose import choose
from reports.commands.choosing.regret import regret
from reports.commands.doctor import atlas, doctor, list_
from reports.commands.many.fleet import fleet
from reports.commands.quality.lengths import lengths
from reports.commands.results.export import export, schema
from reports.commands.results.history import history
from reports.commands.results.page import page
from reports.commands.results.publish import publish
from reports.commands.results.table import table
from reports.commands.run import Stopped, run
from reports.commands.verdicts.aa import aa
from reports.commands.verdicts.ab import ab
from reports.commands.verdicts.compare import compare
from suite.failures import BadRequest, RunFailed
from variants.host.installation import as_typed_here, remedy, version
from variants.selection.files import BadSelection

_NEXT_TRY_S = 0.02
PROJECT_PACKAGES = {"alibi_bench", "reports", "suite", "variants"}


TASKS: dict[str, tuple[click.Command, ...]] = {
    "Measure": (run, doctor, list_, fleet),
    "Look at results": (table, page, history),
    "Choose a variant": (best, choose, regret),
    "Judge a change": (ab, compare, aa),
    "Hand results on": (export, publish, schema),
    "Ask other questions": (atlas, lengths),
}
"""Every command by what one does with it, in the order in which the help lists them."""


class TaskGroup(click.Group):
    """A group of commands whose help lists them by task."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each task."""
        longest = max(map(len, self.commands))
        for task, commands in TASKS.items():
            with formatter.section(task):
                limit = formatter.width - longest - 6
                formatter.write_dl(
                    [
                        ((command.name or "").ljust(longest), command.get_short_help_str(limit))
                        for command in commands
                    ]
                )


@click.group(
    cls=TaskGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(version(), message="alibi-bench %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Measure ALiBi attention backends against each other on this machine.

    Without a command: run the default sweep, then show its table.

    \b
    Example:
      python run_bench.py
      python run_bench.py run --lengths 512,1024 --dtypes bfloat16
      python run_bench.py table results/published/*/*.jsonl --format github
    """
    if context.invoked_subcommand is None:
        context.invoke(run)


for command in (it for commands in TASKS.values() for it in commands):
    cli.add_command(command)
for command in (cli, *cli.commands.values()):
    command.help = as_typed_here(command.help or "")


def _end(code: int, error: Exception | str) -> NoReturn:
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    click.echo(f"Error: {' '.join(text.split())}", err=True)
    raise SystemExit(code)


def _end_of_bug(error: Exception) -> NoReturn:
    """End with 2 where a package is missing; else with 3, and with what a report of a bug needs."""
    package = getattr(error, "name", None) or ""
    if isinstance(error, ModuleNotFoundError) and package.partition(".")[0] not in PROJECT_PACKAGES:
        _end(2, f"{error}: {remedy()}")
    place = extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    _end(3, f"a bug of this program: {type(error).__name__}: {error} ({where}); please report it")


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _interrupt_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Send an interrupt anew that came inside of a destructor, where Python drops it."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        Timer(_NEXT_TRY_S, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(unraisable)


def main() -> None:
    """Run the command line.

    Exit codes: 0 fine, 1 lost agreement or a regression, 2 bad input, 3 the machine or run failed,
    or nothing could be judged.
    """
    for stop in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stop) is signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(stop, _interrupt)
    sys.unraisablehook = _interrupt_again
    try:
        cli.main(standalone_mode=False)
    except (click.UsageError, BadRequest, BadSelection) as error:
        _end(2, error)
    except (RunFailed, OSError) as error:
        _end(3, error)
    except (click.Abort, KeyboardInterrupt):
        _end(3, Stopped("interrupted"))
    except Exception as error:  # noqa: BLE001 - a bug may not end with 1, which is a verdict
        _end_of_bug(error)
