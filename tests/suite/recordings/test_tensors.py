"""Recorded inputs keep every score and norm, and yet nobody can know their numbers."""

from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from suite.agreement.inputs import draw
from suite.cases.case import Case
from suite.cases.request import Request
from suite.recordings.tensors import ChangedRecording, load
from tests.suite.recordings.files import write_recording
from variants.batches.cache_norms import cache_norms

CPU = torch.device("cpu")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    path = write_recording(tmp_path / "mine.safetensors")
    return Request(inputs=f"{path}#layer0", dtypes="float32").plan("cpu").cases[0]


def test_scores_and_norms_are_the_recorded_ones_and_the_numbers_are_not(case: Case) -> None:
    recorded, first, second = (
        load(case.recording),
        draw(case, 1, "set 0", CPU),
        draw(case, 2, "x", CPU),
    )
    for inputs in (first, second):
        scores = inputs.q @ inputs.k.repeat_interleave(2, 1).transpose(-1, -2)
        exact = recorded.q.float() @ recorded.k.float().repeat_interleave(2, 1).transpose(-1, -2)
        assert torch.allclose(scores, exact, atol=1e-4)
        assert torch.equal(inputs.v.abs(), recorded.v.float().abs())
        norms = cache_norms(recorded.k.float(), recorded.v.float())
        assert torch.allclose(cache_norms(inputs.k, inputs.v), norms)
    for name in ("q", "k", "v"):
        assert not torch.equal(getattr(first, name), getattr(second, name))
    again = draw(case, 1, "set 0", CPU)
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in ("q", "k", "v"))


def test_a_shorter_case_is_a_stretch_of_the_recording_with_its_last_queries(case: Case) -> None:
    chunk = msgspec.structs.replace(case, q_len=3, kv_len=16)
    recorded = load(case.recording)
    starts = set()
    for seed in range(40):
        inputs = draw(chunk, seed, "set 0", CPU)
        assert inputs.q.shape == (1, 4, 3, 16)
        (start,) = [
            start
            for start in range(25)
            if torch.equal(inputs.k.abs(), recorded.k[:, :, start : start + 16].float().abs())
        ]
        last = recorded.q[:, :, start + 13 : start + 16].float()
        assert torch.equal(inputs.q.abs(), last.abs())
        starts.add(start)
    assert len(starts) > 10


def test_slopes_of_a_recording_take_the_place_of_the_rule(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "plain.safetensors", layers=("a",))
    own = torch.tensor([4.0, 3.0, 2.0, 1.0])
    save_file(load_file(path) | {"a.slopes": own}, tmp_path / "own.safetensors")
    (case,) = Request(inputs=str(tmp_path / "own.safetensors")).plan("cpu").cases
    assert torch.equal(draw(case, 1, "set 0", CPU).slopes, own)
    assert torch.equal(draw(case, 1, "after", CPU).slopes, own.flip(0))


def test_layout_dtype_and_gradients_are_the_cases(case: Case) -> None:
    changed = msgspec.structs.replace(case, layout="bnhd", mode="backward", dtype="bfloat16")
    inputs = draw(changed, 1, "set 0", CPU)
    assert inputs.q.dtype == torch.bfloat16
    assert inputs.q.requires_grad
    assert inputs.q.transpose(1, 2).is_contiguous()
    assert inputs.dout is not None


def test_a_recording_that_has_changed_is_refused(case: Case, tmp_path: Path) -> None:
    load.cache_clear()
    write_recording(tmp_path / "mine.safetensors", length=41)
    with pytest.raises(ChangedRecording, match=r"mine\.safetensors has changed since"):
        draw(case, 1, "set 0", CPU)
