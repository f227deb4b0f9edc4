"""The workflow and docs/ci.md are true: every command in them is one that there is."""

import math
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import click
import pytest
import yaml

from reports.verdicts.decision import decide_at_once
from reports.verdicts.moderated_t import two_sample_effects
from suite.cases import parse
from suite.cases.plan import Plan
from suite.cases.request import Request
from suite.failures import BadRequest
from tests.docs.test_cli import commands

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text()
WORKFLOWS = ROOT / ".github" / "workflows"
WORKFLOW: dict[Any, Any] = yaml.safe_load((WORKFLOWS / "benchmark.yml").read_text())
NEWEST: dict[Any, Any] = yaml.safe_load((WORKFLOWS / "newest-torch.yml").read_text())
TRIGGERS = WORKFLOW[True]  # YAML 1.1 reads the key `on` as true
CONFTEST = (ROOT / "suite" / "conftest.py").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
COMMANDS = commands()
OPTIONS = {spelling for own in COMMANDS.values() for it in own.params for spelling in it.opts}

_SUBSTITUTED = re.compile(r"\$\{\{.*?\}\}|\$\([^()]*\)|\$\{\w+\}|\$\w+")


def steps(job: str) -> list[dict[str, Any]]:
    """Return the steps of a workflow's job."""
    own = (WORKFLOW["jobs"] | NEWEST["jobs"])[job]["steps"]
    assert isinstance(own, list)
    return own


def script(job: str) -> str:
    """Return all that a job's steps run."""
    return "\n".join(step["run"] for step in steps(job) if "run" in step)


def code_blocks(page: str) -> str:
    """Return a page's code blocks, fenced or indented, without what YAML puts before a command."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.M)
    return re.sub(r"^\s*- run: ", "", "\n".join([*fenced, *indented]), flags=re.MULTILINE)


def spans(page: str) -> list[str]:
    """Return what stands in backticks within a page's text."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))


def calls(text: str) -> Iterator[str]:
    """Yield each simple command of shell lines, with a plain word for what the shell puts in."""
    whole = re.sub(r"(\||\\)\n\s*", r"\1 ", text).replace("\\ ", "")
    for line in whole.splitlines():
        lexer = shlex.shlex(_SUBSTITUTED.sub("word", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for token in [*lexer, ";"]:
            if not set(token) <= set("();<>|&"):
                words.append(token)
            elif words:
                yield shlex.join(words)
                words = []


def check(call: str) -> bool:
    """Return whether a call is one of ours. Raises where it is, and would be refused."""
    match shlex.split(call):
        case ["python", "run_bench.py", name, *words]:
            check_command(name, words)
        case ["python", "-m", "pytest", *words] | ["pytest", *words]:
            ours = {word.partition("=")[0] for word in words if word.startswith("--alibi-")}
            assert all(f'"{option}"' in CONFTEST for option in ours), call
        case ["make", *words]:
            for word in words:
                name, is_variable, _ = word.partition("=")
                known = rf"^{re.escape(name)} *\??=" if is_variable else rf"^{re.escape(name)}:"
                assert re.search(known, MAKEFILE, re.MULTILINE), f"{call}: no {name}"
        case ["python", "run_bench.py"]:
            pass
        case _:
            return False
    return True


def plan_of(options: dict[str, Any]) -> Plan:
    """Return the plan of a command's options."""
    grid = {name: options[name] for name in Request.__struct_fields__ if name in options}
    device = options.get("device") or "cpu"
    return Request(**grid).plan("cuda" if device == "all" else device)


def check_command(name: str, words: list[str]) -> None:
    """Raise unless the command line has such a command and takes these words; measures nothing."""
    assert name in COMMANDS, f"no command {name}"
    asked = COMMANDS[name].make_context(name, list(words)).params
    if "sweep" in asked:
        plan_of(asked)
    for option, read in {
        "budget": parse.seconds,
        "gate": parse.share,
        "inject": parse.share,
    }.items():
        if asked.get(option) is not None:
            read(f"--{option}", asked[option])
    if name == "ab":
        assert (asked["base"] is None) != (asked["base_python"] is None)


def project_calls(text: str) -> list[str]:
    """Return the calls of shell lines that are of this project."""
    own = ("python run_bench.py", "python -m pytest", "pytest", "make")
    return [call for call in calls(text) if call.startswith(own)]


def test_the_workflow_answers_pull_requests_and_pushes_to_main() -> None:
    assert set(TRIGGERS) == {"pull_request", "push"}
    assert TRIGGERS["push"] == {"branches": ["main"]}
    conditions = {name: job["if"] for name, job in WORKFLOW["jobs"].items()}
    assert conditions == {
        "pull-request": "github.event_name == 'pull_request'",
        "main": "github.event_name == 'push'",
    }


def test_the_workflow_may_only_read_and_ends() -> None:
    for workflow in (WORKFLOW, NEWEST):
        assert workflow["permissions"] == {"contents": "read"}
        assert workflow["concurrency"]["cancel-in-progress"]
        for job in workflow["jobs"].values():
            assert "permissions" not in job
            assert job["timeout-minutes"] <= 60


def test_the_newest_torch_is_tried_every_week_by_the_command_of_the_page() -> None:
    (when,) = NEWEST[True]["schedule"]
    minute, hour, *days = when["cron"].split()
    assert minute.isdigit()
    assert hour.isdigit()
    assert days == ["*", "*", "1"]
    assert project_calls(script("newest-torch")) == ["make test TORCH=word"]
    assert check("make test TORCH=word")
    assert "make test TORCH=2.14.1" in project_calls(code_blocks(PAGE))


def test_the_newest_torch_is_the_one_that_pip_names_first(tmp_path: Path) -> None:
    asks = next(step["run"] for step in steps("newest-torch") if "pip index" in step.get("run", ""))
    for answer, status, told in (
        ("torch (2.15.0+cpu)\nAvailable versions: 2.15.0", 0, "TORCH=2.15.0+cpu\n"),
        ("", 1, ""),
    ):
        (tmp_path / "python").write_text(f"#!/bin/sh\nprintf '{answer}\n'\n")
        (tmp_path / "python").chmod(0o755)
        file = tmp_path / f"environment-{status}"
        surroundings = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_ENV": str(file)}
        ended = subprocess.run(["bash", "-e", "-c", asks], env=surroundings, check=False)
        assert min(ended.returncode, 1) == status
        assert (file.read_text() if file.exists() else "") == told


@pytest.mark.parametrize("job", ["pull-request", "main", "newest-torch"])
def test_every_action_has_a_major_version_and_no_step_loses_an_exit_code(job: str) -> None:
    for step in steps(job):
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/none@v0"))
        assert "|" not in step.get("run", "") or step["run"].startswith("set -o pipefail\n")
        forgiven = step.get("continue-on-error", False)
        assert forgiven == step.get("run", "").endswith("run_bench.py doctor")


@pytest.mark.parametrize("job", ["pull-request", "main"])
def test_what_was_measured_is_kept_whatever_the_verdict(job: str) -> None:
    (upload,) = [step for step in steps(job) if "upload-artifact" in step.get("uses", "")]
    assert upload["if"] == "always()"
    file = upload["with"]["path"].replace("${{ github.sha }}", "$GITHUB_SHA")
    assert re.search(rf'--out "?{re.escape(file)}"?', script(job))
    assert 'tee -a "$GITHUB_STEP_SUMMARY"' in script(job)


def test_a_pull_request_is_checked_out_with_its_history() -> None:
    assert steps("pull-request")[0]["with"]["fetch-depth"] == 0


def test_each_job_runs_what_the_page_explains() -> None:
    explained = project_calls(code_blocks(PAGE))
    for job, command in (("pull-request", "ab"), ("main", "run")):
        (call,) = [it for it in project_calls(script(job)) if it.split()[2] == command]
        assert call in explained


def test_mains_strict_run_leaves_out_what_disagrees_by_design() -> None:
    (call,) = [it for it in project_calls(script("main")) if it.split()[2] == "run"]
    assert "--strict" in call
    asked = COMMANDS["run"].make_context("run", shlex.split(call)[3:]).params
    assert {case.dtype for case in plan_of(asked).cases} == {"bfloat16"}


@pytest.mark.parametrize(
    "call", [*project_calls(script("pull-request")), *project_calls(script("main"))]
)
def test_every_command_of_the_workflow_would_be_accepted(call: str) -> None:
    assert check(call)


@pytest.mark.parametrize("call", project_calls(code_blocks(PAGE)))
def test_every_command_of_the_page_would_be_accepted(call: str) -> None:
    assert check(call)


def test_what_the_page_names_in_its_text_exists() -> None:
    named = [span.split() for span in spans(PAGE)]
    for first, *words in named:
        if first in COMMANDS:
            known = {spelling for option in COMMANDS[first].params for spelling in option.opts}
            assert {word for word in words if word.startswith("--")} <= known
        elif first == "make":
            check(shlex.join([first, *words]))
        elif first.startswith("--alibi-"):
            assert f'"{first}"' in CONFTEST
        elif first.startswith("--") and not first.startswith("--benchmark-"):
            assert first in OPTIONS, f"no {first}"


def test_the_pages_heading_names_options_that_exist() -> None:
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    named = set(re.findall(r"--(?!benchmark-)[a-z-]+", " ".join(headings)))
    assert named == {"--pairs", "--gate", "--budget"}
    assert named <= OPTIONS


def test_neither_names_a_host() -> None:
    text = "".join(file.read_text() for file in WORKFLOWS.iterdir()) + PAGE
    assert "://" not in text


@pytest.mark.parametrize(
    "call",
    [
        "python run_bench.py measure",
        "python run_bench.py ab --base word --bugdet 5m",
        "python run_bench.py ab --base word --format csv",
        "python run_bench.py ab --base word --budget 5",
        "python run_bench.py ab --budget 5m",
        "python run_bench.py aa --gate 1",
        "python run_bench.py run --sweep night",
        "python run_bench.py compare",
        "make benchmarks",
        "make gpu HOURS=1",
        "python -m pytest suite --alibi-grid ci",
    ],
)
def test_a_command_that_would_be_refused_is_noticed(call: str) -> None:
    with pytest.raises((AssertionError, click.UsageError, BadRequest)):
        check(call)


def test_commands_are_found_behind_pipes_continuations_and_substitutions() -> None:
    text = (
        'a=1 && make gpu  # not this\npython run_bench.py ab --base "$(git x "y" z)" |\n  tee f\n'
    )
    assert list(calls(text)) == [
        "a=1",
        "make gpu",
        "python run_bench.py ab --base word",
        "tee f",
    ]


@pytest.mark.parametrize(("slowdown", "low", "high"), [(0.05, 0.01, 0.10), (0.20, 0.95, 1.0)])
def test_two_files_see_large_changes_only(slowdown: float, low: float, high: float) -> None:
    random, found, comparisons = Random(60), 0, 400
    for _ in range(comparisons):
        shifts = [math.log1p(slowdown), *[0.0] * 7]
        cells = [
            ([random.gauss(0, 0.05) for _ in range(5)], [random.gauss(it, 0.05) for _ in range(5)])
            for it in shifts
        ]
        found += decide_at_once(two_sample_effects(cells), 0.01)[0].verdict == "slower"
    assert low <= found / comparisons <= high
