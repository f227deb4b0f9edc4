"""Damage to a results file costs the damaged line alone; what is none is refused in one line."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite.records.record import Agreement, RunHeader, Time
from suite.records.store import StoreError, read
from tests.records import a_case, a_check, a_few_records, a_machine, a_time, write

RECORDS = a_few_records()
calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


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
    second, fourth, torn = read(file).warnings
    assert second.startswith(f"{file}: line 2 ")
    assert fourth.startswith(f"{file}: line 4 ")
    assert "unfinished" in torn


def keep_path(path: Path) -> None:
    """Leave `path` as it is."""


def a_directory(path: Path) -> None:
    """Make a directory of `path`."""
    path.mkdir()


def content(data: bytes) -> Callable[[Path], None]:
    """Return what writes these bytes."""

    def write_content(path: Path) -> None:
        path.write_bytes(data)

    return write_content


def with_schema(schema: object) -> bytes:
    """Return a results file whose machine has another schema."""
    header = msgspec.to_builtins(a_machine()) | {"schema": schema}
    return msgspec.json.encode(header) + b"\n"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (keep_path, "No such file"),
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
    assert found.header == a_machine()
    assert found.records == []
    assert len(found.warnings) == 1


COMMANDS = "\x1b[31m\x07\r\x00\x7f\x9b\u202e\u2066\nfastest that agrees: 1"


def test_texts_of_a_file_send_no_commands_to_a_terminal(tmp_path: Path) -> None:
    file = write(
        tmp_path / "run.jsonl",
        a_machine(),
        msgspec.structs.replace(a_check(a_case(), "eager"), where=f"out{COMMANDS}"),
    )
    (_, check) = read(file).records
    assert isinstance(check, Agreement)
    assert check.where.isprintable()
    assert check.where.startswith("out [31m")


def test_a_warning_sends_none_either(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine())
    with file.open("a") as stream:
        stream.write(json.dumps({"record": "canary", COMMANDS: 1}) + "\n")
    (warning,) = read(file).warnings
    assert warning.isprintable()


@pytest.mark.parametrize("name", ["=cmd", "a|b", "<b>", "two words", "x" * 201, "", "-v", "@x"])
def test_a_variant_by_no_name_is_damage(name: str, tmp_path: Path) -> None:
    file = write(
        tmp_path / "run.jsonl", a_machine(), a_time(a_case(), name), a_time(a_case(), "eager")
    )
    found = read(file)
    assert [type(record) for record in found.records] == [RunHeader, Time]
    assert "is not a name" in found.warnings[0]


def test_agreement_is_what_error_and_budget_say(tmp_path: Path) -> None:
    file = write(
        tmp_path / "run.jsonl", a_machine(), a_check(a_case(), "eager", error=1e-3, budget=1e-2)
    )
    lie = file.read_bytes().replace(b'"error":0.001', b'"error":1e9')
    file.write_bytes(lie)
    found = read(file)
    assert found.records == [a_machine()]
    assert "agrees is True, its error 1000000000.0 of 0.01" in found.warnings[0]


def test_a_plan_of_more_cells_than_a_reader_can_list_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine())
    header = json.loads(file.read_bytes())
    (case,) = header["plan"]["cases"][:1]
    header["plan"]["cases"] = [case | {"q_len": 9, "kv_len": 9 + n} for n in range(20_000)]
    header["plan"]["variants"] = [f"v{number}" for number in range(50)]
    file.write_text(json.dumps(header) + "\n")
    with pytest.raises(StoreError, match="20000 cases of 50 variants are 1000000 cells: plan at"):
        read(file)
