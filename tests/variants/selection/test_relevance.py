"""Selections are found where they are kept, and sorted by what they are to this device."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Folders
from tests.variants.selections import HERE, SOFTWARE, a_choice, a_cpu, a_gpu, a_selection, put
from variants.selection.files import BadSelection, selections_for, user_folder
from variants.selection.relevance import TargetDevice, changes, sort_selections
from variants.selection.schema import Selection
from variants.selection.similarity import family_of

OWN = a_selection()
KEY = OWN.hardware.key
OTHER = a_selection(hardware=a_cpu("cpu-another"))


def test_nothing_is_found_where_there_is_no_folder(folders: Folders) -> None:
    assert selections_for(KEY) == ([], [])


def test_the_device_s_own_come_first_and_the_user_s_before_the_committed(folders: Folders) -> None:
    threads = {"user's other": 3, "user's own": 4, "committed other": 5, "committed own": 6}
    for folder, whose in ((folders.of_user, "user's"), (folders.committed, "committed")):
        put(folder, a_selection(hardware=a_cpu("a-first"), threads=threads[f"{whose} other"]))
        put(folder, a_selection(threads=threads[f"{whose} own"]))
    selections, refused = selections_for(KEY)
    names = {number: name for name, number in threads.items()}
    assert [names[selection.threads] for selection in selections] == [
        "user's own",
        "committed own",
        "user's other",
        "committed other",
    ]
    assert not refused


def test_a_refused_file_is_reported_in_a_line_and_the_rest_is_used(folders: Folders) -> None:
    bad = put(folders.of_user, OWN)
    bad.write_text('{"line\n": \x1b[31m')
    bad.with_name("dangling.json").symlink_to("nowhere")
    bad.with_name("folder.json").mkdir()
    bad.with_name("a\nb\x1b[31m.json").write_text("{}")
    put(folders.committed, OWN)
    put(folders.of_user, OTHER)
    selections, refused = selections_for(KEY)
    assert selections == [OWN, OTHER]
    assert len(refused) == 3
    assert all(line.isprintable() for line in refused)
    assert refused[0].startswith(f"{bad}: ")


def test_what_a_download_or_an_editor_left_is_not_looked_at(folders: Folders) -> None:
    path = put(folders.of_user, OWN)
    path.with_suffix(".json~").write_text("damaged")
    path.with_suffix(".part").write_text("damaged")
    assert selections_for(KEY) == ([OWN], [])


@pytest.mark.parametrize("cache", ["/tmp/" + "x" * 300, "/proc/1/root/x", "/dev/null", "relative"])
def test_a_cache_that_can_t_be_looked_into_has_no_selection(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    put(folders.committed, OWN)
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert selections_for(KEY)[0] == [OWN]


def test_without_a_home_only_the_committed_are_found(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_key_error(number: int) -> None:
        raise KeyError(number)

    put(folders.committed, OWN)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", raise_key_error)
    assert selections_for(KEY)[0] == [OWN]
    with pytest.raises(BadSelection, match="no home directory to keep selections in"):
        user_folder()


def test_a_file_that_can_t_be_looked_at_is_refused_in_a_line(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folders.of_user, OWN)
    put(folders.committed, OWN)
    stat = Path.stat

    def forbidden(self: Path, **how: bool) -> os.stat_result:
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return stat(self, **how)

    monkeypatch.setattr(Path, "stat", forbidden)
    assert selections_for(KEY) == ([OWN], [f"{path}: Permission denied"])


def test_tests_and_their_children_never_see_the_users_own_selections(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    code = "from variants.selection.files import user_folder; print(user_folder())"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    for folder in (user_folder(), Path(ended.stdout.strip())):
        assert folder.is_relative_to(tmp_path_factory.getbasetemp().parent)


def groups_of(selection: Selection, here: TargetDevice = HERE) -> list[str]:
    """Return where a selection ends up in what is known."""
    about = sort_selections(here, [selection])
    return [name for name in ("current", "stale", "akin") if getattr(about, name)]


def test_measured_here_with_the_same_software_a_selection_is_current() -> None:
    assert groups_of(OWN) == ["current"]
    assert changes(OWN, HERE) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"software": SOFTWARE | {"torch": "2.12.0"}}, "torch 2.12.0 and not 2.13.0"),
        ({"software": SOFTWARE | {"triton": "3.4"}}, "triton 3.4 and not absent"),
        ({"software": SOFTWARE | {"driver": "570"}}, "driver 570 and not none"),
        ({"software": {"triton": "absent"}}, "torch none and not 2.13.0"),
        ({"threads": 3}, "threads 3 and not 2"),
    ],
)
def test_other_software_or_threads_make_it_stale(change: dict[str, Any], told: str) -> None:
    selection = a_selection(**change)
    assert groups_of(selection) == ["stale"]
    assert changes(selection, HERE) == [told]


def test_another_driver_makes_a_gpu_s_selection_stale() -> None:
    here = TargetDevice(a_gpu(), SOFTWARE | {"driver": "570.1"}, 2)
    selection = a_selection(hardware=a_gpu(), software=SOFTWARE | {"driver": "550.2"})
    assert groups_of(selection, here) == ["stale"]
    assert changes(selection, here) == ["driver 550.2 and not 570.1"]


def test_of_other_devices_only_those_of_one_architecture_are_kept() -> None:
    assert groups_of(OTHER) == ["akin"]
    assert groups_of(a_selection(hardware=a_cpu("cpu-another"), threads=3)) == ["akin"]
    assert groups_of(a_selection(hardware=a_cpu("cpu-another", features=("sve",)))) == []
    assert groups_of(a_selection(hardware=a_gpu())) == []


def test_a_family_s_choices_come_by_rising_length() -> None:
    choices = [a_choice({"eager": 1.0}, length) for length in (4096, 512, 1024)]
    other = a_choice({"eager": 1.0}, 512, heads=2)
    (place,) = sort_selections(HERE, [a_selection(*choices, other)]).current
    family = place.families[family_of(choices[0].problem)]
    assert [choice.problem.kv_len for choice in family] == [512, 1024, 4096]
    assert place.families[family_of(other.problem)] == [other]
