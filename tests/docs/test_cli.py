"""docs/cli.md is true: it names every command and option that there is, and no other."""

import re
from pathlib import Path

import click
import pytest

from reports.commands.command_line import cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text()


def commands() -> dict[str, click.Command]:
    """Return the command line's commands."""
    return dict(cli.commands)


def section(name: str) -> str:
    """Return what the page says of a command."""
    return re.split(r"^## ", PAGE.partition(f"\n## `{name}`\n")[2], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_a_section_with_an_example_of_it(name: str) -> None:
    assert f"    python run_bench.py {name}" in section(name)


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_is_documented_and_no_other(name: str) -> None:
    options = {
        spelling
        for option in commands()[name].params
        if isinstance(option, click.Option)
        for spelling in option.opts
    }
    assert set(re.findall(r"`(--[a-z-]+)", section(name))) == options


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_help_has_an_example_and_says_what_each_option_is(name: str) -> None:
    command = commands()[name]
    assert "Example:" in (command.help or "")
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.opts[0]} has no help"


@pytest.mark.parametrize("name", sorted(commands()))
def test_the_help_of_format_names_what_there_is(name: str) -> None:
    for option in commands()[name].params:
        if isinstance(option, click.Option) and "--format" in option.opts:
            assert isinstance(option.type, click.Choice)
            named = set(re.findall(r"\b(?:simple|github|csv|json)\b", option.help or ""))
            assert named == {"simple", "github", "csv", "json"} & set(option.type.choices)


def test_no_command_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"^## `(.+)`$", PAGE, re.MULTILINE)) == set(commands())


@pytest.mark.parametrize("name", sorted(commands()))
def test_no_section_says_what_something_is_twice(name: str) -> None:
    subjects = re.findall(r"^(?:- |\| )(`[^`]+`)", section(name), re.MULTILINE)
    assert len(subjects) == len(set(subjects))


def test_a_blank_line_is_before_every_heading() -> None:
    assert not re.findall(r"[^\n]\n#+ .*", PAGE)


def test_every_page_of_the_docs_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert all(f"(docs/{page.name}" in readme for page in (ROOT / "docs").glob("*.md"))
