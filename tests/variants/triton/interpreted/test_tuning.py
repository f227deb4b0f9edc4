"""The bounded search for tiles, with a stand-in for the timer, and the file of its answers."""

import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier

import pytest
import torch

from variants.problem import Unsupported
from variants.triton.tiles import Tiles, TileTable, refuse_tiles, tiles_for
from variants.triton.tuning import table_file
from variants.triton.tuning.search import SearchResult, candidates, search
from variants.triton.tuning.table_file import (
    TunedTable,
    path_of,
    table_for,
    tuned_tables,
    write,
)

FIXED = Tiles(128, 64, 8, 2)
OTHER = Tiles(64, 64, 8, 2)
CHIP = "NVIDIA H200"
ON_CUDA = torch.device("cuda")
FIXED_TABLE = tiles_for(90, 64, torch.bfloat16)
NEW_TABLE = TunedTable(64, "bfloat16", FIXED_TABLE._replace(forward=OTHER))


def in_an_hour() -> float:
    return time.monotonic() + 3600


def compiles(_: Tiles) -> bool:
    """Stand in for a compiler, of a chip that has room for all."""
    return True


def search_for(time_ms: Callable[[Tiles], float]) -> SearchResult:
    return search(FIXED, compiles, time_ms, workers=3, ends_at=in_an_hour())


def timer(
    times: dict[Tiles, float], timed: list[Tiles], otherwise: float = 2.0
) -> Callable[[Tiles], float]:
    """Return a stand-in for a timer, which notes what it timed."""

    def time_ms(tiles: Tiles) -> float:
        timed.append(tiles)
        return times.get(tiles, otherwise)

    return time_ms


def test_candidates_are_one_step_away_and_possible() -> None:
    for fixed in (FIXED, Tiles(16, 32, 4, 1), Tiles(256, 256, 16, 5)):
        found = candidates(fixed)
        assert 4 <= len(found) <= 8
        for tiles in found:
            refuse_tiles(tiles)
            assert sum(one != other for one, other in zip(tiles, fixed, strict=True)) == 1


def test_the_fastest_candidate_is_chosen_after_it_was_timed_twice() -> None:
    timed: list[Tiles] = []
    found = search_for(timer({FIXED: 1.0, OTHER: 0.9}, timed))
    assert (found.tiles, found.time_ms, found.fixed_ms) == (OTHER, 0.9, 1.0)
    assert timed == [FIXED, *candidates(FIXED), FIXED, OTHER]
    assert found.timed == 1 + len(candidates(FIXED))


def test_a_candidate_that_is_hardly_faster_is_not() -> None:
    assert search_for(timer({FIXED: 1.0, OTHER: 0.98}, [])).tiles == FIXED


def test_nor_is_one_that_was_fast_once() -> None:
    times = iter([0.5])

    def time_ms(tiles: Tiles) -> float:
        return next(times, 1.0) if tiles == OTHER else 1.0

    assert search_for(time_ms).tiles == FIXED


def test_nor_is_one_with_another_answer() -> None:
    found = search_for(timer({FIXED: 1.0}, [], otherwise=math.inf))
    assert (found.tiles, found.fixed_ms) == (FIXED, 1.0)


def test_a_candidate_for_which_the_chip_has_no_room_is_not_timed() -> None:
    timed: list[Tiles] = []
    has_room = {OTHER, candidates(FIXED)[-1]}
    found = search(
        *(FIXED, has_room.__contains__, timer({OTHER: 0.1}, timed)),
        workers=3,
        ends_at=in_an_hour(),
    )
    assert found.tiles == OTHER
    assert set(timed) == {FIXED, *has_room}
    assert found.timed == 3


def test_candidates_are_compiled_together_and_timed_alone() -> None:
    workers = 3
    compiled: list[Tiles] = []
    together = Barrier(workers, timeout=10)
    running: list[Tiles] = []

    def compiles_with_others(tiles: Tiles) -> bool:
        running.append(tiles)
        if len(compiled) < 2 * workers:  # the last ones are fewer than the workers
            together.wait()
        compiled.append(tiles)
        running.remove(tiles)
        return True

    def time_ms(_: Tiles) -> float:
        assert not running
        return 1.0

    search(FIXED, compiles_with_others, time_ms, workers=workers, ends_at=in_an_hour())
    assert sorted(compiled) == sorted(candidates(FIXED))


def test_what_breaks_in_a_compiler_is_seen() -> None:
    def breaks(_: Tiles) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search(FIXED, breaks, timer({}, []), workers=2, ends_at=in_an_hour())


@pytest.mark.parametrize("has_room", [True, False])
def test_nothing_is_compiled_or_timed_when_time_is_over(
    monkeypatch: pytest.MonkeyPatch, *, has_room: bool
) -> None:
    compiled: list[Tiles] = []
    timed: list[Tiles] = []

    def compiles_in_a_second(tiles: Tiles) -> bool:
        compiled.append(tiles)
        return has_room

    monkeypatch.setattr(time, "monotonic", lambda: float(len(compiled)))
    search(FIXED, compiles_in_a_second, timer({}, timed), workers=1, ends_at=1.5)
    assert compiled == candidates(FIXED)[:2]
    assert timed == [FIXED, *compiled[:has_room]]


def test_no_candidate_is_begun_when_time_is_over_at_once() -> None:
    timed: list[Tiles] = []
    compiled: list[Tiles] = []

    def compiles_and_notes(tiles: Tiles) -> bool:
        compiled.append(tiles)
        return True

    found = search(
        *(FIXED, compiles_and_notes, timer({OTHER: 0.1}, timed)),
        workers=2,
        ends_at=time.monotonic() - 1,
    )
    assert found.tiles == FIXED
    assert timed == [FIXED]
    assert not compiled


@pytest.fixture
def chip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have an H200, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: CHIP)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    tuned_tables.cache_clear()
    yield
    tuned_tables.cache_clear()


def table_on_cuda(head_dim: int = 64, dtype: torch.dtype = torch.bfloat16) -> TileTable:
    return table_for(ON_CUDA, head_dim, dtype)


@pytest.mark.usefixtures("chip")
def test_a_launch_has_the_tiles_that_were_found_for_its_head_dim_and_dtype() -> None:
    assert table_on_cuda() == FIXED_TABLE
    write(CHIP, (NEW_TABLE,))
    assert table_on_cuda().forward == OTHER
    assert table_on_cuda(128) == tiles_for(90, 128, torch.bfloat16)
    assert table_on_cuda(64, torch.float32) == tiles_for(90, 64, torch.float32)
    assert table_for(torch.device("cpu"), 64, torch.bfloat16) == FIXED_TABLE


@pytest.mark.usefixtures("chip")
def test_tiles_of_other_kernels_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(CHIP, (NEW_TABLE,))
    changed = tmp_path / "kernel"
    shutil.copytree(table_file._KERNELS, changed)
    with (changed / "forward.py").open("a") as source:
        source.write("# changed\n")
    monkeypatch.setattr(table_file, "_KERNELS", changed)
    table_file.kernels_hash.cache_clear()
    assert table_on_cuda() == FIXED_TABLE
    table_file.kernels_hash.cache_clear()


@pytest.mark.usefixtures("chip")
def test_nor_are_those_of_another_chip_under_this_one_s_name() -> None:
    other = write("NVIDIA-H200", (NEW_TABLE,))
    assert other == path_of(CHIP)
    assert table_on_cuda() == FIXED_TABLE


@pytest.mark.usefixtures("chip")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "truncated"),
        ('{"chip": 3}', "Expected `str`"),
        (
            '{"chip": "", "kernels": "", "tables": [{"head_dim": 64, "dtype": "bfloat16", "tiles": '
            "[[48, 64, 8, 2], [64, 64, 8, 2], [64, 64, 8, 2], [64, 64, 8, 2]]}]}",
            "rows 48: give a power of two from 16 to 256",
        ),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_its_name(content: str, reason: str) -> None:
    path = path_of(CHIP)
    assert path is not None
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(Unsupported, match=f"{path.name}: no table of tiles .*{reason}.*delete it"):
        table_on_cuda()
