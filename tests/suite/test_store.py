"""A results file comes back as it was written, and every kind of damage is told apart."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite.case import Case
from suite.record import Agreement, Canary, Fault, Limit, Memory, Record, Series, Time
from suite.series import SeriesName
from suite.store import Store, StoreError, read
from tests.records import (
    a_canary,
    a_case,
    a_check,
    a_fault,
    a_limit,
    a_machine,
    a_memory,
    a_time,
    write,
)

ROOT = Path(__file__).parents[2]
CASE = a_case()
RECORDS = (
    a_canary(),
    a_check(CASE, "eager"),
    a_time(CASE, "eager"),
    a_limit(),
    a_fault(CASE, "flex"),
)

calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
counts = st.integers(1, 2**40)
names = st.text(min_size=1, max_size=20)
figures = st.floats(allow_nan=False, allow_infinity=False)
sizes = st.floats(1e-3, 1e3)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any case that has a meaning."""
    q_len, kv_heads = draw(counts), draw(counts)
    return Case(
        heads=kv_heads * draw(st.integers(1, 8)),
        head_dim=draw(counts),
        q_len=q_len,
        kv_len=q_len + draw(counts),
        kv_heads=kv_heads,
        dtype=draw(st.sampled_from(["float32", "bfloat16", "float16"])),
        batch=draw(counts),
        mode=draw(st.sampled_from(["forward", "backward"])),
        causal=draw(st.booleans()),
        bias_max=draw(sizes),
        slope_scale=draw(st.sampled_from(["1", "1/sqrt(d)"])),
        layout=draw(st.sampled_from(["bhnd", "bnhd"])),
        logit_scale=draw(sizes),
    )


turns = st.lists(
    st.tuples(counts, st.lists(counts, min_size=1, max_size=4).map(tuple)), min_size=1, max_size=4
).map(tuple)
series_names = st.sampled_from(get_args(SeriesName))
cell_records = st.one_of(
    st.builds(Canary, counts, st.text(), figures),
    st.builds(
        Limit,
        counts,
        st.sampled_from(["float32", "bfloat16", "float16"]),
        figures,
        figures,
    ),
    st.builds(
        Agreement,
        case=cases(),
        variant=names,
        pass_number=counts,
        stage=st.sampled_from(["before", "after"]),
        agrees=st.booleans(),
        error=st.none() | figures,
        budget=figures,
        where=st.text(),
    ),
    st.builds(
        Time,
        case=cases(),
        variant=names,
        pass_number=counts,
        turns=turns,
        calls_per_sample=counts,
        taken=counts,
        stopped_by=st.text(),
        prepare_s=figures,
        first_call_s=figures,
        cold=st.booleans(),
        kernels=st.lists(names, max_size=3).map(tuple),
        race=counts,
        cost=series_names,
        others=st.lists(st.builds(Series, series_names, turns), max_size=3).map(tuple),
        retaken=counts,
        throttled=counts,
        sm_clock_mhz=st.none() | st.tuples(counts, counts),
    ),
    st.builds(
        Memory,
        case=cases(),
        variant=names,
        pass_number=counts,
        peak_bytes=counts,
        persistent_bytes=counts,
        resident_bytes=st.none() | counts,
        reserved_bytes=st.none() | counts,
        nvml_bytes=st.none() | counts,
        nvml=st.text(),
    ),
    st.builds(
        Fault,
        case=cases(),
        variant=names,
        pass_number=counts,
        status=st.sampled_from(["unsupported", "timed_out", "crashed"]),
        step=names,
        reason=st.text(),
    ),
)


@calmly
@given(written=st.lists(cell_records, max_size=5))
def test_what_is_written_is_read_again(
    written: list[Record], tmp_path_factory: pytest.TempPathFactory
) -> None:
    machine = a_machine()
    file = write(tmp_path_factory.mktemp("store") / "run.jsonl", machine, *written)
    found = read(file)
    assert found.machine == machine
    assert found.records == [machine, *written]
    assert found.warnings == []


def test_a_second_writer_adds_to_what_is_there(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    again = a_machine(threads=4)
    write(file, again, a_canary(2))
    found = read(file)
    assert found.records == [a_machine(), *RECORDS, again, a_canary(2)]
    assert found.machine == a_machine()


def test_the_folder_is_made_if_need_be(tmp_path: Path) -> None:
    file = write(tmp_path / "not" / "yet" / "there.jsonl", a_machine())
    assert read(file).records == [a_machine()]


def test_a_line_torn_at_any_byte_costs_itself_alone_and_is_told_of(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    whole = file.read_bytes()
    start = whole.rstrip(b"\n").rindex(b"\n") + 1
    for end in range(start + 1, len(whole)):
        file.write_bytes(whole[:end])
        found = read(file)
        assert found.records == [a_machine(), *RECORDS[:-1]]
        (warning,) = found.warnings
        assert warning.startswith(f"{file}: ")
        assert "unfinished" in warning
        assert "\n" not in warning


def test_a_line_torn_at_any_byte_is_cut_off_before_the_next_is_written(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    whole = file.read_bytes()
    start = whole.rstrip(b"\n").rindex(b"\n") + 1
    for end in range(start, len(whole)):
        file.write_bytes(whole[:end])
        store = Store(file)
        store.append([a_canary(2)])
        store.close()
        found = read(file)
        assert found.records == [a_machine(), *RECORDS[:-1], a_canary(2)]
        assert found.warnings == []


def test_opening_a_whole_file_changes_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    before = file.read_bytes()
    Store(file).close()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"nul",
        b"[1, 2]",
        b'{"record":"time"}',
        b'{"record":"telegram"}',
        b'{"record":"canary","pass_number":"one","median_ms":7.0}',
        b'{"record":"fault","reason":"\xff\xfe"}',
        b"\x00" * 80,
        bytes(range(11, 256)),
        b"[" * 100_000,
    ],
    ids=lambda damage: repr(damage[:30]),
)
def test_damage_in_the_middle_is_one_line_with_its_number(damage: bytes, tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    lines = file.read_bytes().splitlines()
    lines[2] = damage
    file.write_bytes(b"\n".join(lines) + b"\n")
    found = read(file)
    assert found.records == [a_machine(), RECORDS[0], *RECORDS[2:]]
    (warning,) = found.warnings
    assert warning.startswith(f"{file}: line 3 is damaged")
    assert "\n" not in warning


@calmly
@given(damage=st.binary(min_size=1, max_size=20), place=st.integers(0, 2**16))
def test_no_damage_in_the_middle_costs_more_than_its_line(
    damage: bytes, place: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = write(tmp_path_factory.mktemp("store") / "run.jsonl", a_machine(), *RECORDS)
    lines = file.read_bytes().splitlines()
    place %= len(lines[4])
    lines[4] = lines[4][:place] + damage.replace(b"\n", b"") + lines[4][place + len(damage) :]
    file.write_bytes(b"\n".join([*lines, lines[1]]) + b"\n")
    found = read(file)
    assert found.records[:4] == [a_machine(), *RECORDS[:3]]
    assert found.records[-1] == RECORDS[0]
    assert len(found.records) + len(found.warnings) == len(RECORDS) + 2


def test_each_damaged_line_is_told_of(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    lines = file.read_bytes().splitlines()
    lines[1] = lines[3] = b"{"
    file.write_bytes(b"\n".join(lines) + b"\n" + b'{"rec')
    warnings = read(file).warnings
    assert [any(word in line for word in ("line 2", "line 4")) for line in warnings[:2]] == [1, 1]
    assert "unfinished" in warnings[2]
    assert len(warnings) == 3


@pytest.mark.parametrize(
    "part",
    [
        {"turns": []},
        {"turns": [[1, []]]},
        {"turns": [[1, [7]], [2, [0]]]},
        {"turns": [[1, [-5]]]},
        {"calls_per_sample": 0},
    ],
    ids=["no turns", "an empty turn", "no time", "less than no time", "no calls"],
)
def test_a_time_that_can_not_be_used_is_damage(part: dict[str, object], tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine())
    hollow = msgspec.json.decode(msgspec.json.encode(a_time(CASE, "eager"))) | part
    file.write_bytes(file.read_bytes() + msgspec.json.encode(hollow) + b"\n")
    found = read(file)
    assert found.records == [a_machine()]
    (warning,) = found.warnings
    assert "line 2" in warning


def nothing(path: Path) -> None:
    """Leave `path` as it is."""


def a_directory(path: Path) -> None:
    """Make a directory of `path`."""
    path.mkdir()


def content(of: bytes) -> Callable[[Path], None]:
    """Return what writes these bytes."""

    def write_it(path: Path) -> None:
        path.write_bytes(of)

    return write_it


def with_schema(schema: object) -> bytes:
    """Return a results file whose machine has another schema."""
    machine = msgspec.to_builtins(a_machine()) | {"schema": schema}
    return msgspec.json.encode(machine) + b"\n"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (nothing, "No such file"),
        (a_directory, "not a regular file"),
        (content(b""), "not a results file"),
        (content(b"\n"), "not a results file"),
        (content(b"length,ms\n512,3.1\n"), "not a results file"),
        (content(b'{"name": "alibi"}\n'), "not a results file"),
        (content(b"[]\n"), "not a results file"),
        (content(bytes(range(256)) * 40), "not a results file"),
        (content(b'"\xff\xfe"\n'), "not a results file"),
        (content(b"[" * 100_000), "not a results file"),
        (content(b"\x1f\x8b\x08\x00" + os.urandom(500)), "not a results file"),
        (content(with_schema(1)), "schema 1, and this version reads schema 2"),
        (content(with_schema(None)), "schema None"),
        (content(b'{"record":"machine","schema":2}\n'), "line 1"),
    ],
    ids=[
        "missing",
        "a directory",
        "empty",
        "a blank line",
        "csv",
        "other json",
        "a list",
        "every byte",
        "no utf-8",
        "deep",
        "gzip",
        "schema 1",
        "no schema",
        "half a machine",
    ],
)
def test_what_is_no_results_file_is_refused_in_one_line(
    make: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "given.jsonl"
    make(file)
    with pytest.raises(StoreError) as refused:
        read(file)
    text = str(refused.value)
    assert text.startswith(f"{file}: ")
    assert words in text
    assert "\n" not in text


def test_a_file_whose_only_line_lost_its_end_still_says_who_measured(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine())
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    found = read(file)
    assert found.machine == a_machine()
    assert found.records == []
    assert len(found.warnings) == 1


def test_a_second_writer_is_refused_while_the_first_has_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    with file.open("ab") as half_written:
        first = Store(file)
        half_written.write(b'{"record":"can')
    before = file.read_bytes()
    with pytest.raises(StoreError, match="another run is writing") as refused:
        Store(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert file.read_bytes() == before
    first.close()
    Store(file).close()


def test_another_process_is_refused_too(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine())
    code = f"from pathlib import Path; from suite.store import Store; Store(Path({str(file)!r}))"
    first = Store(file)
    refused = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    first.close()
    assert "StoreError" in refused.stderr
    assert "another run is writing to it" in refused.stderr


def test_a_file_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "run.jsonl")
    store.append([a_machine(), a_canary()])
    assert read(store.path).records == [a_machine(), a_canary()]
    store.close()


def test_a_folder_is_no_place_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a regular file"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_made_is_no_place_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another --out"):
        Store(tmp_path / "file" / "run.jsonl")


def test_a_full_disk_is_told_of(tmp_path: Path) -> None:
    store = Store(tmp_path / "run.jsonl")
    descriptors = Path("/proc/self/fd")
    (own,) = (
        int(fd.name) for fd in descriptors.iterdir() if fd.exists() and fd.samefile(store.path)
    )
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, own)
    os.close(full)
    with pytest.raises(StoreError, match="No space left on device") as refused:
        store.append([a_machine()])
    assert str(refused.value).startswith(f"{store.path}: ")
    store.close()


FILL_UP = """
import resource, sys
from pathlib import Path
from suite.store import Store, StoreError
from tests.records import a_case, a_time
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    Store(Path(sys.argv[1])).append([a_time(a_case(), "eager")] * 3)
except StoreError as error:
    print(error)
"""


def test_what_came_before_a_full_disk_is_kept_and_goes_on(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine(), *RECORDS)
    limit = file.stat().st_size + 100
    stopped = subprocess.run(
        [sys.executable, "-c", FILL_UP, file, str(limit)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert stopped.stdout == f"{file}: File too large; what is in it is kept\n"
    assert file.stat().st_size == limit
    write(file, a_machine())
    found = read(file)
    assert found.records == [a_machine(), *RECORDS, a_machine()]
    assert found.warnings == []


def test_cells_are_finished_by_a_time_a_fault_or_a_disagreement_alone(tmp_path: Path) -> None:
    other = a_case(1024)
    file = write(
        tmp_path / "run.jsonl",
        a_machine(),
        a_canary(),
        a_check(CASE, "no_bias"),
        a_time(CASE, "no_bias"),
        a_check(CASE, "eager", error=1.0),
        a_fault(CASE, "flex"),
        a_check(other, "no_bias"),
        a_memory(other, "no_bias"),
        a_check(other, "eager", stage="after", error=None),
        a_time(other, "flex", pass_number=2),
    )
    assert read(file).finished() == {
        (CASE, "no_bias", 1),
        (CASE, "eager", 1),
        (CASE, "flex", 1),
        (other, "eager", 1),
        (other, "flex", 2),
    }
