"""docs/installing.md, the release workflow and what an installed user reads are true."""

import re
from typing import Any

import pytest
import yaml

from suite.conditions.policy import ROOT
from variants.compiled.flags import LEVELS
from variants.host import installation

PAGE = (ROOT / "docs" / "installing.md").read_text()
FOLDERS = ("alibi_bench", "reports", "suite", "variants")
TEXT = (ROOT / ".github" / "workflows" / "release.yml").read_text()
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)


def test_the_page_has_every_shipped_library() -> None:
    assert re.findall(r"^\| `([a-z0-9-]+)` \| ", PAGE, re.MULTILINE) == [it.name for it in LEVELS]


def test_a_release_is_of_a_tag_and_only_its_last_job_may_write() -> None:
    assert WORKFLOW[True] == {"push": {"tags": ["v*"]}}
    assert WORKFLOW["permissions"] == {"contents": "read"}
    rights = {name: job.get("permissions") for name, job in WORKFLOW["jobs"].items()}
    assert rights == {"build": None, "publish": {"contents": "write"}}


def test_every_action_has_a_major_version_and_every_job_ends() -> None:
    for job in WORKFLOW["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/none@v0"))


def test_the_workflow_counts_the_libraries_that_a_wheel_has() -> None:
    assert f"= {len(LEVELS)}\n" in TEXT
    assert "://" not in TEXT


def test_an_installed_user_is_told_of_the_installed_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert installation.as_typed_here("try python run_bench.py run") == (
        "try python run_bench.py run"
    )
    monkeypatch.setattr(installation, "IS_INSTALLED", True)
    assert installation.as_typed_here("try python run_bench.py run") == "try alibi-bench run"
    assert "make" not in installation.remedy()


def test_results_of_an_installed_user_go_to_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert installation.results_folder() == ROOT / "results"
    monkeypatch.setattr(installation, "IS_INSTALLED", True)
    assert installation.results_folder() == tmp_path / "results"


@pytest.mark.parametrize(
    ("is_installed", "command"),
    [(False, "pip install -e '.[report]'"), (True, "pip install altair vl-convert-python")],
)
def test_an_extra_is_installed_editable_in_a_clone_and_by_its_packages_elsewhere(
    is_installed: bool, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "IS_INSTALLED", is_installed)
    assert installation.install_command("report", "altair", "vl-convert-python") == command


def test_every_text_that_installs_an_extra_of_a_clone_does_so_editable() -> None:
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.py")]
    files += [path for name in FOLDERS for path in (ROOT / name).rglob("*.py")]
    for file in files:
        for command in re.findall(r"install [^\n]*?'?\.\[", file.read_text()):
            assert " -e " in command or " --editable " in command, f"{file.name}: {command}"
