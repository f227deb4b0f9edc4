"""A selection's file is data from a stranger: read whole and in range, or refused in one line."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import examples
from tests.variants.selections import a_candidate, a_choice, a_cpu, a_gpu, a_selection, put
from variants.selection.files import LARGEST_BYTES, BadSelection, read
from variants.selection.schema import Selection

NAME = f"{a_cpu().key}.json"
FIRST = "choices.0.candidates.0"
WHOLE = a_selection(
    a_choice({"eager": 1.0, "flex": 2.0}), a_choice({"sdpa_key": 1.0}, 1024, dtype="float16")
)
CONTENT = msgspec.json.encode(WHOLE)
more = settings(max_examples=examples(400), deadline=None)


def refusal(path: Path) -> str:
    """Return the one line in which a file is refused."""
    with pytest.raises(BadSelection) as caught:
        read(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert line.isprintable()
    return line


def with_value(place: str, value: str) -> bytes:
    """Return the selection with a text in place of the JSON of one of its values."""
    whole: Any = json.loads(CONTENT)
    *ways, last = [int(way) if way.isdigit() else way for way in place.split(".")]
    inner = whole
    for way in ways:
        inner = inner[way]
    inner[last] = "@"
    return json.dumps(whole).replace('"@"', value).encode()


def read_or_refuse(content: bytes) -> Selection | str:
    """Return what is read from such a file, or the line in which it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        path.write_bytes(content)
        try:
            return read(path)
        except BadSelection as refusal:
            return str(refusal)


@pytest.mark.parametrize("hardware", [a_cpu(), a_gpu()], ids=["cpu", "gpu"])
def test_what_was_written_is_read(tmp_path: Path, hardware: Any) -> None:
    written = msgspec.structs.replace(
        WHOLE, hardware=hardware, objective="memory", max_memory_bytes=1 << 30, max_error=0.5
    )
    assert read(put(tmp_path, written)) == written


def test_an_interval_and_unknown_bytes_are_read_too(tmp_path: Path) -> None:
    one = a_candidate(time_ci_ms=(0.9, 1.2), over_first_ci=(1.0, 1.0), peak_bytes=None)
    choice = msgspec.structs.replace(WHOLE.choices[0], candidates=(one,))
    written = a_selection(choice)
    assert read(put(tmp_path, written)) == written
    assert one.bytes is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *[(f"{FIRST}.score", v) for v in ("0", "-1", "1e300", "1e999", "NaN", '"NaN"', '"1"')],
        *[(f"{FIRST}.score", v) for v in ("1" + "0" * 400, "null", "true", "[1]", "Infinity")],
        *[(f"{FIRST}.time_ms", v) for v in ("0", "-1", "1e300", "1e999", '"1"')],
        *[(f"{FIRST}.over_first", v) for v in ("0", "-1", "1e7", "1e999")],
        *[(f"{FIRST}.over_first_ci", v) for v in ("[1.1, 1.2]", "[0, 1]", "[1]", "[1, 1, 1]")],
        *[(f"{FIRST}.time_ci_ms", v) for v in ("[1.1, 1.2]", "[0.5, 0.9]", "[1, 1e300]", "1")],
        *[(f"{FIRST}.error", v) for v in ("-1", "1e300", "null")],
        *[(f"{FIRST}.peak_bytes", v) for v in ("-1", "1.5", "1e300", "1" + "0" * 400)],
        *[(f"{FIRST}.passes", v) for v in ("0", "1e9", "16777217")],
        ("choices.0.candidates.1.variant", '"eager"'),
        *[("choices.0.variant", v) for v in ('"compile"', '"auto"', "null", '"eager\\n"')],
        *[("choices.0.problem.kv_len", v) for v in ("0", "-1", "1.5", "16777217", '"512"')],
        *[("choices.0.problem.bias_max", v) for v in ("0", "-8", "1e300", "1e999")],
        *[("choices.0.problem.dtype", v) for v in ('"float64"', '"torch.float32"', "1")],
        *[("choices.0.problem.heads", v) for v in ("0", "1" + "0" * 5000)],
        ("choices.0.problem.unheard_of", "1"),
        ("choices.0.candidates", "[]"),
        ("choices.1", json.dumps(json.loads(CONTENT)["choices"][0])),
        *[("schema", v) for v in ("2", "0", '"1"', "1.5", "null")],
        *[("threads", v) for v in ("0", "-1", "1e300", "2.5", "1" + "0" * 5000)],
        *[("objective", v) for v in ('"fastest"', "null")],
        *[("max_memory_bytes", v) for v in ("-1", "1e300")],
        ("hardware.device", '"tpu"'),
        ("hardware.key", '"cpu-another"'),
        ("hardware.key", '"../cpu-invented-2cores"'),
        *[("hardware.cores", v) for v in ('"2"', "null", "1" + "0" * 5000)],
        ("software", '{"torch": 2}'),
        ("unheard_of", "1"),
        ('line\n\x1b[31m break"', "1"),
        ("hardware.name", f'"{"x" * 9000}"'),
        *[("hardware.name", v) for v in ('"a\\nCRITICAL: b"', '"\\u001b[31m"', '"\\u0000"')],
        *[("measured", v) for v in ('["a\\nb"]', '["\\u001b[2J"]')],
        ("software", '{"torch\\n": "2.13.0"}'),
        ("software.torch", '"2.13.0\\u001b[31m"'),
        ("choices.0.why", '"tied\\nwith"'),
    ],
)
def test_a_value_that_is_none_is_refused_in_one_line(
    tmp_path: Path, place: str, value: str
) -> None:
    path = tmp_path / NAME
    path.write_bytes(with_value(place, value))
    refusal(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [("hardware.unheard_of", "1"), ("hardware.cores", "-1"), ("hardware.stepping", '"a\\nb"')],
)
def test_an_odd_device_is_refused_in_one_line(tmp_path: Path, place: str, value: str) -> None:
    path = tmp_path / NAME
    path.write_bytes(with_value(place, value))
    refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        CONTENT[:-1],
        CONTENT[: len(CONTENT) // 2],
        CONTENT + b"}",
        CONTENT.replace(b'"eager"', b'"eag\xff"'),
        CONTENT.replace(b'"eager"', b'"eag\ner"'),
        CONTENT.replace(b'"eager"', b'"eag\x00er"'),
        b"[" * 1_000_000,
        CONTENT.replace(b'"key":', b'"deep":' + b"[" * 1_000_000),
        CONTENT[:-1] + b', "deep": ' + b"[" * 1_000_000,
        CONTENT.replace(b'"threads":2', b'"threads":' + b'{"a":' * 1_000_000),
        b"import os; os.abort()",
        b"\x80\x04cos\nabort\n(tR.",
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / NAME
    path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize(
    "name", [b"auto", b"no_bias", b"rope", b"", b"flx", b"../x", b"os.abort()", b"eager "]
)
def test_what_can_t_be_chosen_is_refused_wherever_it_is_named(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / NAME
    path.write_bytes(CONTENT.replace(b'"variant":"eager"', b'"variant":"' + name + b'"'))
    assert "none that can be chosen here" in refusal(path)


def test_a_file_over_8_mib_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(CONTENT + b" " * (LARGEST_BYTES + 1 - len(CONTENT)))
    assert "over 8 MiB" in refusal(path)
    path.write_bytes(CONTENT + b" " * (LARGEST_BYTES - len(CONTENT)))
    assert read(path) == WHOLE


@pytest.mark.timeout(120)
def test_what_is_no_file_is_refused_and_waited_for_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "unreadable").symlink_to("/proc/self/mem")  # for root too
    for name in ("folder", "pipe", "dangling", "loop", "endless", "unreadable", "missing"):
        refusal(tmp_path / name)
    assert "not a regular file" in refusal(tmp_path / "pipe")


@more
@given(content=st.binary(max_size=300))
def test_random_bytes_are_refused(content: bytes) -> None:
    line = read_or_refuse(content)
    assert isinstance(line, str)
    assert line.isprintable()


@more
@given(data=st.data())
def test_random_damage_is_refused_or_makes_another_selection(data: st.DataObject) -> None:
    content = bytearray(CONTENT)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        until = at + data.draw(st.integers(0, 3))
        content[at:until] = data.draw(st.binary(max_size=3) | st.sampled_from([b"-", b"9", b"e9"]))
    found = read_or_refuse(bytes(content))
    if isinstance(found, str):
        assert found.isprintable()
    else:
        assert read_or_refuse(msgspec.json.encode(found)) == found
