"""The options that several commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

ANSWER_FORMATS = ("simple", "json")
VERDICT_FORMATS = ("simple", "github", "json")
GATE = click.option(
    "--gate", default="1%", show_default=True, help="The least slowdown that may raise an alarm."
)
DEVICE = click.option(
    "--device", help="cpu, cuda or cuda:1; without it the first GPU that torch can use, else cpu."
)
_MODELS = click.option("--models", help="Names: `list models`; or a file such as my.json.")
_SHAPE = (
    click.option("--q-len", type=int, help="Queries at the end of each length, as a chunk."),
    click.option("--batch", type=int, help="Batch size."),
    click.option("--heads", type=int, help="Heads."),
    click.option("--kv-heads", type=int, help="Heads of k and v, shared by --heads evenly."),
    click.option("--head-dim", type=int, help="Size of a head."),
    click.option("--noncausal", is_flag=True, help="Every query sees every key."),
    click.option("--layout", help="bhnd, bnhd (models' memory order), or paged (decode)."),
    click.option("--logit-scale", type=float, help="Factor on the random q, k and v."),
)


def format_option(forms: Sequence[str]) -> Callable[[_Command], _Command]:
    """Return the option --format; the first of `forms` is the default."""
    people = [form for form in forms if form in {"simple", "github"}]
    others = [form for form in forms if form not in people]
    verb = "are" if len(people) > 1 else "is"
    return click.option(
        "--format",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help=f"{' and '.join(people)} {verb} for people, {' and '.join(others)} for programs.",
    )


def _with_options(command: _Command, options: Sequence[Callable[[_Command], _Command]]) -> _Command:
    """Return a command with options; its help shows them in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def grid_options(command: _Command) -> _Command:
    """Add --device and the options of a `Request` for measuring, all but --passes."""
    return _with_options(
        command,
        (
            DEVICE,
            click.option("--sweep", help="Name: `list sweeps`; without it the command's default."),
            _MODELS,
            click.option("--lengths", "--length", help="Lengths in tokens, such as 512,1024."),
            click.option("--dtypes", "--dtype", help="Any of float32,bfloat16,float16."),
            click.option("--modes", "--mode", help="Any of forward,backward (both),decode."),
            click.option("--seq-lens", help="One batch of sequences, such as 900,512,40."),
            click.option(
                "--requests", help="A server's batch: count x queries : keys, as 8x1:4096."
            ),
            click.option(
                "--padding",
                help="Pad --seq-lens left or right; variants are told which tokens are real.",
            ),
            click.option("--window", type=int, help="How many positions back a query sees."),
            click.option(
                "--norms",
                is_flag=True,
                help="Decode: hand the norms of the cache to variants that read them.",
            ),
            click.option("--inputs", help="Recorded q, k, v: FILE.safetensors or FILE#LAYER."),
            click.option("--variants", help="Names: `list variants`."),
            *_SHAPE,
            click.option(
                "--step-timeout", default="120s", show_default=True, help="Limit of one step."
            ),
            click.option(
                "--seed",
                type=int,
                default=0,
                show_default=True,
                help="Seed of the orders; inputs are new in each race.",
            ),
        ),
    )


def question_options(command: _Command) -> _Command:
    """Add the options of a `Request` for advice: lengths are required, the rest has defaults."""
    return _with_options(
        command,
        (
            _MODELS,
            click.option("--lengths", "--length", required=True, help="Lengths, such as 512,1024."),
            click.option(
                "--modes",
                "--mode",
                default="forward",
                show_default=True,
                help="Also: backward, decode.",
            ),
            click.option(
                "--dtypes", "--dtype", help="Default: bfloat16; float16 on a GPU without it."
            ),
            *_SHAPE,
            DEVICE,
        ),
    )


def pair_options(command: _Command) -> _Command:
    """Add the options of commands that measure pairs."""
    return _with_options(
        command,
        (
            grid_options,
            click.option(
                "--pairs", type=int, default=14, show_default=True, help="Pairs of the first stage."
            ),
            click.option("--budget", help="Time for the whole, such as 5m; decides on --pairs."),
            GATE,
            format_option(VERDICT_FORMATS),
            click.option("--out", type=click.Path(path_type=Path), help="File of pairs to write."),
        ),
    )
