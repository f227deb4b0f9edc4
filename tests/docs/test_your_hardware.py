"""docs/your-hardware.md and the workflow for published results are true."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from reports.publishing.checks import RULES
from suite.conditions.policy import ROOT
from tests.docs.test_ci import check, code_blocks, project_calls

PAGE = (ROOT / "docs" / "your-hardware.md").read_text()
WORKFLOW: dict[Any, Any] = yaml.safe_load(
    (ROOT / ".github" / "workflows" / "published.yml").read_text()
)
JOB = WORKFLOW["jobs"]["check"]
COMMANDS = re.findall(r"^ {4,}((?:python run_bench|make|git) ?.*?)(?: +#.*)?$", PAGE, re.MULTILINE)


def in_git(folder: Path, *words: str) -> None:
    name = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", "-C", folder, *name, *words], check=True, capture_output=True)


def commit(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    in_git(folder, "add", "--all")
    in_git(folder, "commit", "-m", "files")


def words_of_check(folder: Path) -> list[str]:
    """Return the words with which the workflow's check calls python in a clone; [] if never."""
    (script,) = [step["run"] for step in JOB["steps"] if "git diff" in step.get("run", "")]
    programs = folder.parent / "bin"
    programs.mkdir()
    python = programs / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 2\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env={"PATH": f"{programs}:{os.environ['PATH']}", "GITHUB_BASE_REF": "main"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == bool(done.stdout), done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a clone whose origin/main has two published files and a table."""
    folder = tmp_path / "clone"
    folder.mkdir()
    in_git(folder, "init", "--initial-branch", "main")
    commit(folder, {f"results/published/a/{it}": it for it in ("1.jsonl", "2.jsonl", "1.md")})
    in_git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    return folder


def test_the_workflow_checks_the_files_that_a_pull_request_adds_alone(clone: Path) -> None:
    added = {"results/published/b/x y.jsonl": "new", "results/published/b/x y.md": "table"}
    other = {"results/published/a/1.jsonl": "changed", "examples/z.jsonl": "none of ours"}
    (clone / "results/published/a/2.jsonl").unlink()
    commit(clone, {**added, **other, "results/published/c/d/moved.jsonl": "2.jsonl"})
    words = words_of_check(clone)
    assert words[:3] == ["run_bench.py", "publish", "--check"]
    assert words[3:] == ["results/published/b/x y.jsonl", "results/published/c/d/moved.jsonl"]


def test_the_workflow_checks_nothing_where_none_is_added(clone: Path) -> None:
    commit(clone, {"results/published/a/1.md": "another table"})
    assert words_of_check(clone) == []


def test_the_workflow_only_reads_has_no_secrets_and_ends() -> None:
    assert WORKFLOW[True] == {"pull_request": {"paths": ["results/published/**"]}}
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "secrets" not in str(WORKFLOW)
    assert JOB["timeout-minutes"] <= 10
    for step in JOB["steps"]:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/none@v0"))
        assert "|" not in step.get("run", "") or step["run"].startswith("set -o pipefail\n")
    checkout = JOB["steps"][0]["with"]
    assert checkout == {"fetch-depth": 0, "persist-credentials": False}


def test_every_command_of_the_page_would_be_accepted() -> None:
    assert any("publish" in command for command in COMMANDS)
    for command in project_calls("\n".join([*COMMANDS, code_blocks(PAGE)])):
        assert check(command), command


def test_the_page_has_a_row_for_each_rule_that_a_person_can_break() -> None:
    rows = re.findall(r"^\| (?:was|has|names|is) ", PAGE, re.MULTILINE)
    beside, of_damage = 1, 1
    assert len(rows) == len(RULES) - of_damage + beside
