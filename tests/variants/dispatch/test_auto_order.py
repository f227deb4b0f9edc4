"""The order that auto is advised to try: read once, said once, whatever the files hold."""

import io
import logging
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread
from time import sleep
from typing import Any

import msgspec
import pytest
import torch

from tests.conftest import Folders
from tests.variants.formula import assert_close, tensors, truth
from tests.variants.selections import SPEC, a_choice, of_this_machine, put
from variants.attention import alibi_attention, variant_for
from variants.dispatch import auto_order
from variants.dispatch.auto_order import device_selections, order, problem_of
from variants.host import cuda_driver
from variants.host.hardware import this_cpu
from variants.selection import files
from variants.selection.files import path_of
from variants.selection.pick import static_order
from variants.selection.schema import Selection

pytestmark = pytest.mark.usefixtures("folders")

FIXED = static_order("cpu", problem_of(SPEC))
COMMAND = (
    "To measure here: python run_bench.py choose --tune --device cpu --modes forward "
    "--dtypes float32 --lengths 256,512,1024 --batch 1 --heads 8 --kv-heads 8 --head-dim 64"
)
CHOICE = a_choice({"compile": 1.0, "eager": 3.0})


def log_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines that were logged, each a warning and printable."""
    assert {(one.name, one.levelno) for one in caplog.records} <= {("alibi_bench", logging.WARNING)}
    lines = [one.getMessage() for one in caplog.records]
    assert all(line.isprintable() for line in lines)
    return lines


def test_a_selection_s_ranking_comes_before_the_fixed_order(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    put(folders.of_user, of_this_machine(CHOICE))
    assert order(SPEC) == ("compile", "eager", *[name for name in FIXED if name != "eager"])
    assert log_lines(caplog) == []


def test_the_users_selection_is_preferred_to_the_committed_one(folders: Folders) -> None:
    put(folders.committed, of_this_machine(a_choice({"flex": 1.0})))
    put(folders.of_user, of_this_machine(CHOICE))
    assert order(SPEC)[0] == "compile"


BETWEEN = replace(SPEC, q_len=300, kv_len=300)


def selection_around(ms: dict[str, float], mode: str = "forward") -> Selection:
    """Return a selection of two lengths around that of BETWEEN."""
    return of_this_machine(*[a_choice(ms, length, mode=mode) for length in (256, 1024)])


def test_a_length_that_was_not_measured_waits_for_no_graph(folders: Folders) -> None:
    put(folders.of_user, selection_around({"flex": 1.0, "eager": 1.9}))
    assert order(BETWEEN)[:2] == ("eager", "flex")
    assert order(replace(SPEC, q_len=1024, kv_len=1024))[0] == "flex"


@pytest.mark.parametrize("ms", [{"flex": 1.0, "eager": 2.1}, {"flex": 1.0, "compile": 1.1}])
def test_it_waits_where_all_else_is_far_slower_or_builds_too(
    folders: Folders, ms: dict[str, float]
) -> None:
    put(folders.of_user, selection_around(ms))
    assert order(BETWEEN)[0] == "flex"


def test_nor_does_training_which_may_meet_another_length_at_each_step(folders: Folders) -> None:
    put(folders.of_user, selection_around({"flex": 1.0, "eager": 1.9}, mode="backward"))
    assert order(replace(BETWEEN, needs_grad=True))[0] == "eager"


def test_all_that_is_ready_comes_before_what_builds_and_what_is_slow_last(
    folders: Folders,
) -> None:
    put(
        folders.of_user,
        selection_around({"flex": 1.0, "sdpa_mask": 1.2, "eager": 1.5, "sdpa_key": 9.0}),
    )
    assert order(BETWEEN)[:4] == ("sdpa_mask", "eager", "flex", "sdpa_key")


def test_that_nothing_was_measured_is_said_once_with_the_command(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for heads in (8, 4, 8):
        assert order(replace(SPEC, heads=heads, kv_heads=heads)) == FIXED
    (line,) = log_lines(caplog)
    assert line.startswith(
        "no selection for this device: auto tries native_window first (nothing like it"
    )
    assert line.endswith(COMMAND)


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (1 / 64, "with softmax scale 0.125 and not 0.0156, which only --models sets"),
        (0.3, "with softmax scale 0.125 and not 0.3, which no option sets"),
    ],
)
def test_a_softmax_scale_that_the_command_does_not_measure_is_said(
    scale: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    order(replace(SPEC, scale=scale))
    (line,) = log_lines(caplog)
    assert line.endswith(f"{COMMAND} ({words})")


def test_a_measured_device_is_not_said_to_have_no_selection(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    put(folders.of_user, of_this_machine(CHOICE))
    assert order(replace(SPEC, dtype=torch.bfloat16))
    assert not [
        line for line in log_lines(caplog) if line.startswith("no selection for this device")
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"software": {"torch": "2.0.0"}}, "stale: torch 2.0.0 and not "),
        ({"threads": 77}, "stale: threads 77 and not "),
    ],
)
def test_a_stale_selection_is_used_and_that_is_said_once(
    folders: Folders, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], told: str
) -> None:
    current = of_this_machine(CHOICE)
    if "software" in changes:
        changes = {"software": {**current.software, **changes["software"]}}
    put(folders.of_user, msgspec.structs.replace(current, **changes))
    for length in (512, 512, 1024):
        assert order(replace(SPEC, q_len=length, kv_len=length))[0] == "compile"
    (line,) = log_lines(caplog)
    assert line.startswith(
        "the selection of this device is stale: auto tries compile first (512 keys"
    )
    assert told in line
    assert line.endswith(COMMAND)


def test_the_selection_of_a_kin_is_used_and_that_is_said(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    kin = msgspec.structs.replace(this_cpu(), key="cpu-kin", name="Kin CPU")
    put(folders.committed, of_this_machine(CHOICE, hardware=kin))
    assert order(SPEC)[0] == "compile"
    (line,) = log_lines(caplog)
    assert "one of its kin is used: auto tries compile first (512 keys measured on Kin CPU" in line


def test_other_threads_than_were_measured_are_seen_when_they_are_set(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    threads = torch.get_num_threads()
    put(folders.of_user, of_this_machine(CHOICE))
    order(SPEC)
    try:
        torch.set_num_threads(threads + 1)
        order(SPEC)
    finally:
        torch.set_num_threads(threads)
    (line,) = log_lines(caplog)
    assert f"stale: threads {threads} and not {threads + 1}" in line


def test_files_are_read_at_the_first_call_and_never_again(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folders.of_user, of_this_machine(CHOICE, a_choice({"eager": 1.0}, 48)))
    opened: list[Path] = []
    stated: list[Path] = []
    really_open, really_stat = io.open, Path.stat

    def note_open(file: Any, *args: Any, **how: Any) -> Any:
        opened.append(Path(str(file)))
        return really_open(file, *args, **how)

    def note_stat(file: Path, **how: Any) -> Any:
        stated.append(file)
        return really_stat(file, **how)

    monkeypatch.setattr(io, "open", note_open)
    monkeypatch.setattr(Path, "stat", note_stat)
    alibi_attention(*tensors())
    assert opened.count(path) == 1
    opened.clear()
    stated.clear()
    for length in (48, 48, 50):
        alibi_attention(*tensors(q_len=length, kv_len=length))
        variant_for(*tensors(q_len=length, kv_len=length))
    assert (opened, stated) == ([], [])


def test_threads_that_ask_at_once_read_and_say_once(
    folders: Folders, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folders.of_user, of_this_machine(CHOICE)).write_bytes(b"damaged")
    together, really_found = Barrier(8), files.selections_for

    def slowly(key: str) -> Any:
        sleep(0.05)
        return really_found(key)

    def ask() -> None:
        together.wait()
        order(SPEC)

    monkeypatch.setattr(auto_order, "selections_for", slowly)
    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line.split(":")[0] for line in log_lines(caplog)] == [
        "selection refused",
        "no selection for this device",
    ]


HOSTILE = {
    "empty": b"",
    "deep": b"[" * 1_000_000,
    "binary": b"\x80\x04cos\nabort\n(tR.",
    "escapes": b'{"\\u001b[31m\\nCRITICAL": 1}',
    "huge": b" " * (files.LARGEST_BYTES + 1),
    "another's": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_refused_file_is_said_in_one_line_and_the_fixed_order_is_taken(
    folders: Folders, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = put(folders.of_user, of_this_machine(CHOICE))
    other = msgspec.structs.replace(this_cpu(), key="cpu-other")
    foreign = msgspec.json.encode(of_this_machine(CHOICE, hardware=other))
    path.write_bytes(foreign if kind == "another's" else HOSTILE[kind])
    q, k, v = tensors()
    for _ in range(2):
        assert_close(alibi_attention(q, k, v), truth(q, k, v), torch.float32)
        assert variant_for(q, k, v) == FIXED[0]
    first, second = log_lines(caplog)
    assert first.startswith(f"selection refused: {path}: ")
    assert second.startswith("no selection for this device: ")


def test_a_cache_that_can_t_be_looked_into_is_as_good_as_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/tmp/" + "x" * 300)
    assert order(SPEC) == FIXED


@pytest.mark.parametrize("kind", ["cuda", "meta", "mps"])
def test_a_device_that_can_t_be_told_from_others_takes_the_fixed_order(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def no_driver() -> None:
        raise cuda_driver.NoCuda("no driver")

    monkeypatch.setattr(cuda_driver, "devices", no_driver)
    spec = replace(SPEC, device=torch.device(kind))
    assert order(spec) == static_order(kind, problem_of(spec))
    assert device_selections(torch.device(kind), 2) is None


def test_where_the_cpu_can_t_be_read_the_fixed_order_is_taken(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> None:
        raise OSError("/proc is not mounted")

    put(folders.of_user, of_this_machine(CHOICE))
    assert path_of(folders.of_user, this_cpu().key).exists()
    monkeypatch.setattr(auto_order, "this_cpu", unreadable)
    assert order(SPEC) == FIXED
