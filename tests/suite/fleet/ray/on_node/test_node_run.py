"""What a node does for a task: real processes of stand-ins for `run`, and what is sent back."""

import re
import subprocess
import sys
import textwrap
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

from suite.fleet.ray.on_node.node_python import MODULES, NoPython, interpreter
from suite.fleet.ray.on_node.node_run import (
    COUNT,
    Content,
    Event,
    JobEnd,
    JobStart,
    NodeDevice,
    OtherHardware,
    PartialFile,
    ProgressLine,
    Task,
    do,
    without_ray,
)
from tests.fakes.console import ROOT

HERE = NodeDevice("cpu", "here")
RUN = """
    import os, sys, time
    words = sys.argv[1:]
    path = words[words.index("--resume" if "--resume" in words else "--out") + 1]
    def write(text):
        with open(path, "a") as file:
            file.write(text)
    def say(text):
        print(text, file=sys.stderr, flush=True)
"""


def a_task(tmp_path: Path, body: str, **changes: object) -> Task:
    """Return a task whose `run` is a script with `write` and `say`, on a node with the CPU HERE."""
    script, devices = tmp_path / "run.py", tmp_path / "devices.py"
    script.write_text(textwrap.dedent(RUN) + textwrap.dedent(body))
    devices.write_text("import sys; print(sys.argv[1], 'here')")
    programs = (str(script),), (str(devices),)
    task = Task(("--passes", "1"), "cpu", None, (), (), *programs, None)
    return task._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _where_ray_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be in a folder of code, as Ray's worker is."""
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked" / "mark.py").touch()
    (tmp_path / "unpacked" / COUNT).write_text("1")
    monkeypatch.chdir(tmp_path / "unpacked")


def test_a_run_is_in_a_copy_of_the_code_that_ray_may_remove(tmp_path: Path) -> None:
    body = f"""
        import shutil
        shutil.rmtree({str(tmp_path / "unpacked")!r})
        say(" ".join(os.listdir(".")))
    """
    assert "mark.py" in messages(do(a_task(tmp_path, body)))[1][0]


def test_code_that_is_being_unpacked_is_waited_for_and_not_run_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unpacked" / COUNT).write_text("3")
    monkeypatch.setattr(time, "sleep", lambda _: (tmp_path / "unpacked" / "late.py").touch())
    assert "late.py" in messages(do(a_task(tmp_path, "say(' '.join(os.listdir('.')))")))[1][0]


def messages(events: Iterable[Event]) -> tuple[list[bytes], list[str]]:
    """Return the pieces of the file and the lines of progress among events."""
    listed = list(events)
    return (
        [event.lines for event in listed if isinstance(event, Content)],
        [event.text for event in listed if isinstance(event, ProgressLine)],
    )


def test_lines_and_whole_lines_of_the_file_are_sent_as_they_come(tmp_path: Path) -> None:
    body = """
        write("one\\ntw"); say("first"); time.sleep(0.5)
        write("o\\n"); say(" ".join(words).replace(path, "RESULTS")); time.sleep(0.5)
        write("three\\n")
    """
    pieces, progress = messages(do(a_task(tmp_path, body)))
    assert pieces == [b"one\n", b"two\n", b"three\n"]
    assert progress == ["first", "run --passes 1 --out RESULTS --device cpu"]


def test_a_file_that_was_begun_is_resumed_and_only_what_is_new_is_sent(tmp_path: Path) -> None:
    body = """
        say(" ".join(words[:-1]) + " " + open(path).read().strip())
        write("new\\n")
    """
    pieces, progress = messages(do(a_task(tmp_path, body, files=[PartialFile(HERE, b"old\n")])))
    assert (pieces, progress) == ([b"new\n"], ["run --resume old"])


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("say('Error: no GPU is to be seen'); sys.exit(2)", "no GPU is to be seen"),
        ("sys.exit(3)", "exited with 3"),
        ("os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("sys.exit(1)", None),
    ],
)
def test_how_the_run_ended_is_told(body: str, error: str | None, tmp_path: Path) -> None:
    assert list(do(a_task(tmp_path, body)))[-1] == JobEnd(error)


GPUS = (NodeDevice("cuda:0", "big"), NodeDevice("cuda:1", "big"))


def a_gpu_task(tmp_path: Path, body: str, **changes: object) -> Task:
    """Return a task like `a_task`, on a node with two GPUs."""
    task = a_task(tmp_path, body, kind="cuda", **changes)
    (tmp_path / "devices.py").write_text("print('cuda:0 big\\ncuda:1 big')")
    return task


def test_all_gpus_of_a_node_are_measured_and_the_file_of_each_is_sent(tmp_path: Path) -> None:
    body = """
        for number in "01":
            with open(path.replace(".jsonl", f"-cuda{number}.jsonl"), "a") as file:
                file.write(number + "\\n")
        say(" ".join(words).replace(path, "RESULTS"))
    """
    assert list(do(a_gpu_task(tmp_path, body))) == [
        JobStart(GPUS),
        Content("cuda:0", b"0\n"),
        Content("cuda:1", b"1\n"),
        ProgressLine("run --passes 1 --out RESULTS --device all"),
        JobEnd(None),
    ]


def test_the_files_of_gpus_are_resumed_together_with_a_budget_of_this_run(tmp_path: Path) -> None:
    body = """
        say(open(path.replace(".jsonl", "-cuda1.jsonl")).read().strip())
        say(" ".join(words).replace(path, "RESULTS"))
    """
    task = a_gpu_task(
        tmp_path, body, files=[PartialFile(GPUS[1], b"old\n")], budget=("--budget", "9s")
    )
    assert messages(do(task)) == ([], ["old", "run --resume RESULTS --device all --budget 9s"])


def test_a_task_whose_files_are_of_a_gpu_that_is_not_here_is_not_begun(tmp_path: Path) -> None:
    for gpu in (NodeDevice("cuda:2", "big"), NodeDevice("cuda:1", "small")):
        task = a_gpu_task(tmp_path, "", files=[PartialFile(gpu, b"old\n")])
        assert list(do(task)) == [OtherHardware(GPUS)]


def test_a_task_bound_to_another_hardware_key_is_not_begun(tmp_path: Path) -> None:
    assert list(do(a_task(tmp_path, "", hardware_key="there"))) == [OtherHardware((HERE,))]


def test_without_words_a_node_only_tells_its_devices(tmp_path: Path) -> None:
    assert list(do(a_task(tmp_path, "", words=None))) == [JobStart((HERE,)), JobEnd(None)]


def test_a_node_that_can_not_tell_its_devices_says_why(tmp_path: Path) -> None:
    task = a_task(tmp_path, "")
    (tmp_path / "devices.py").write_text("import sys; sys.exit('Error: no driver is installed')")
    assert list(do(task)) == [JobEnd("no driver is installed")]


def test_a_stream_that_is_closed_interrupts_its_run(tmp_path: Path) -> None:
    body = """
        try:
            say("begun")
            time.sleep(60)
        except KeyboardInterrupt:
            open(os.path.join(os.path.dirname(words[0]) or ".", MARK), "w").close()
    """.replace("MARK", repr(str(tmp_path / "interrupted")))
    stream = do(a_task(tmp_path, body))
    assert [next(stream), next(stream)] == [JobStart((HERE,)), ProgressLine("begun")]
    stream.close()  # type: ignore[attr-defined]
    assert (tmp_path / "interrupted").exists()


def test_a_run_knows_nothing_of_ray() -> None:
    ours = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0"}
    assert without_ray(ours | {"RAY_JOB_ID": "1", "OMP_NUM_THREADS": "8"}) == ours


def test_a_python_that_has_all_packages_is_taken_as_it_is() -> None:
    assert interpreter("/nowhere") == sys.executable


def test_the_modules_looked_for_are_those_of_the_packages_that_are_required() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {re.split("[><=]", each)[0] for each in project["dependencies"]}
    assert set(MODULES.values()) == required


def test_missing_packages_are_named_with_what_would_help(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(MODULES, "no_such_module", "no-such-package")
    with pytest.raises(NoPython, match="lacks no-such-package: install "):
        interpreter(None)
    with pytest.raises(NoPython, match=f"and --wheels {tmp_path}/none is no folder there"):
        interpreter(str(tmp_path / "none"))


def test_wheels_are_installed_once_and_without_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        commands.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setitem(MODULES, "no_such_module", "no-such-package")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(subprocess, "run", run)
    (tmp_path / "wheels").mkdir()
    first = interpreter(str(tmp_path / "wheels"))
    assert interpreter(str(tmp_path / "wheels")) == first
    make, install = commands
    assert make[1:3] == ["-m", "venv"]
    assert install[0] == first == f"{make[-1]}/bin/python"
    assert {"--no-index", "--find-links", str(tmp_path / "wheels"), "torch"} <= set(install)


def test_wheels_that_can_not_be_installed_are_refused_with_pips_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "some\nERROR: no torch in it\n")
    monkeypatch.setitem(MODULES, "no_such_module", "no-such-package")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(NoPython, match="can't be installed on the node: ERROR: no torch in it"):
        interpreter(str(tmp_path))
