"""A recording's layers become cases; what is no recording is refused in a line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from suite.cases.request import Request
from suite.failures import BadRequest
from suite.recordings.layers import read_layers
from suite.recordings.names import check_unchanged, file_and_layer, layer_name
from suite.recordings.tensors import load
from tests.suite.recordings.files import write_recording


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(write_recording(Path("mine.safetensors"), bias_max="16", scale="1/d"))


def test_each_layer_is_a_case_of_its_shape_and_conventions(recording: str) -> None:
    cases = Request(inputs=recording, variants="eager").plan("cpu").cases
    assert [layer_name(case.recording) for case in cases] == ["mine layer0", "mine layer3"]
    for case in cases:
        assert (case.heads, case.kv_heads, case.head_dim, case.kv_len) == (4, 2, 16, 40)
        assert (case.dtype, case.bias_max, case.scale, case.causal) == (
            "bfloat16",
            16.0,
            "1/d",
            True,
        )
        assert not case.is_dense
    digest = cases[0].recording.rpartition("@")[2]
    assert cases[0].id == f"n40-h4kv2-d16-bfloat16-mine-layer0-{digest}-max16-scale_1_over_d"


def test_lengths_dtypes_modes_and_one_layer_may_be_chosen(recording: str) -> None:
    request = Request(
        inputs=f"{recording}#layer3", lengths="17,40", dtypes="float32", modes="decode"
    )
    cases = request.plan("cpu").cases
    assert [(case.kv_len, case.q_len, case.dtype) for case in cases] == [
        (17, 1, "float32"),
        (40, 1, "float32"),
    ]
    assert {layer_name(case.recording) for case in cases} == {"mine layer3"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"heads": 8}, "--heads 8 beside --inputs"),
        ({"sweep": "long"}, "--sweep long beside --inputs"),
        ({"logit_scale": 4.0}, "--logit-scale 4.0 beside --inputs"),
        ({"lengths": "41"}, "has 40 tokens; give no more"),
    ],
)
def test_what_a_recording_has_itself_is_refused(
    recording: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        Request(inputs=recording, **options).plan("cpu")  # type: ignore[arg-type]


def test_what_is_no_recording_is_refused_in_a_line(tmp_path: Path) -> None:
    other, no_k, odd = (tmp_path / f"{name}.safetensors" for name in ("other", "no_k", "odd"))
    tensors = {f"a.{name}": torch.zeros(1, 2, 3, 4) for name in "qkv"}
    for name, slopes in (
        ("few", torch.ones(3)),
        ("low", -torch.ones(2)),
        ("nan", torch.full((2,), torch.nan)),
    ):
        save_file(tensors | {"a.slopes": slopes}, tmp_path / f"{name}.safetensors")
    save_file(tensors | {"a.v": torch.full((1, 2, 3, 4), torch.inf)}, tmp_path / "inf.safetensors")
    empty = {f"a.{name}": torch.zeros(1, 2, 0, 4) for name in "qkv"}
    save_file(empty, tmp_path / "none_at_all.safetensors")
    write_recording(tmp_path / "hash.safetensors", layers=("a#b",))
    (tmp_path / "text.safetensors").write_text("no tensors")
    save_file({"weight": torch.zeros(2)}, other)
    save_file({"a.q": torch.zeros(1, 2, 3, 4)}, no_k)
    save_file({f"a.{name}": torch.zeros(1, 2, 3, 5 - (name == "v")) for name in "qkv"}, odd)
    write_recording(tmp_path / "words.safetensors", scale="some")
    write_recording(tmp_path / "good.safetensors")
    for word, complaint in (
        ("none.safetensors", "[Nn]o such file"),
        ("text.safetensors", "[Hh]eader"),
        ("other.safetensors", r"no tensor named LAYER\.q"),
        ("no_k.safetensors", r"no tensor 'a\.k'"),
        ("odd.safetensors", r"layer a has q \[1, 2, 3, 5\]"),
        ("words.safetensors", "its metadata: Invalid enum value 'some'"),
        ("few.safetensors", r"a\.slopes has shape \[3\] in F32; give \[heads\] = \[2\]"),
        ("low.safetensors", "finite and over 0"),
        ("nan.safetensors", "finite and over 0"),
        ("inf.safetensors", r"a\.v has NaN or infinite numbers"),
        ("none_at_all.safetensors", "layer a has q"),
        ("hash.safetensors", r"layer 'a#b': name it in printable characters"),
        ("", "no such file"),
        ("good.safetensors#layer9", "no such layer; there are layer0, layer3"),
    ):
        with pytest.raises(BadRequest, match=complaint):
            read_layers(str(tmp_path / word))


def test_a_folder_may_have_a_hash_in_its_name_and_the_mask_may_be_bidirectional(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "c#d"
    folder.mkdir()
    path = write_recording(folder / "good.safetensors", causal="false")
    (one,) = Request(inputs=f"{path}#layer0").plan("cpu").cases
    both = Request(inputs=str(path)).plan("cpu").cases
    assert one == both[0]
    assert not one.causal
    assert load(one.recording).q.shape == (1, 4, 40, 16)


def test_layers_of_different_lengths_take_the_lengths_of_the_shortest(tmp_path: Path) -> None:
    short, long = (
        load_file(write_recording(tmp_path / f"{length}", length=length, layers=(f"of{length}",)))
        for length in (20, 40)
    )
    path = tmp_path / "both.safetensors"
    save_file(short | long, path)
    assert {case.kv_len for case in Request(inputs=str(path)).plan("cpu").cases} == {20, 40}
    with pytest.raises(BadRequest, match=r"--lengths 21: .* has 20 tokens"):
        Request(inputs=str(path), lengths="21").plan("cpu")


def test_two_layers_never_share_a_name(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "dup.safetensors", layers=("a b", "a-b", "a_b"))
    assert len({case.id for case in Request(inputs=str(path)).plan("cpu").cases}) == 3


def test_a_case_that_a_recording_does_not_make_names_its_layer(recording: str) -> None:
    with pytest.raises(BadRequest, match="--inputs: mine layer0 makes no case: decode"):
        Request(inputs=recording, modes="decode", lengths="9").plan("cpu")


def test_a_recording_that_has_changed_or_gone_is_not_gone_on_with(
    recording: str, tmp_path: Path
) -> None:
    names = [case.recording for case in Request(inputs=recording).plan("cpu").cases]
    check_unchanged(names, "--resume")
    write_recording(Path(recording), length=41)
    with pytest.raises(BadRequest, match=r"--resume: mine\.safetensors has changed since"):
        check_unchanged(names, "--resume")
    Path(recording).unlink()
    with pytest.raises(BadRequest, match=r"--resume: .*mine\.safetensors"):
        check_unchanged(names, "--resume")


def test_a_relative_name_is_from_the_folder_that_a_lane_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALIBI_BENCH_FOLDER", "/somewhere")
    assert file_and_layer("a/b.safetensors#c@1234") == (
        Path("/somewhere/a/b.safetensors"),
        "c",
        "1234",
    )
