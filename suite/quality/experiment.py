"""An experiment's files: the results, and beside them a folder with its text and the weights."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from suite.conditions.device import Device
from suite.conditions.policy import circumstances
from suite.failures import BadRequest
from suite.quality.design import Design
from suite.quality.message import ModelTask
from suite.quality.record import SCHEMA, LengthsHeader
from suite.quality.results import LengthsResults, read
from suite.quality.text import corpus
from suite.quality.text.sources import (
    SourceFile,
    folder_files,
    package_files,
    package_versions,
)
from suite.records.fingerprint import without_folders
from variants.host.software import software


class Experiment(NamedTuple):
    """The header of a run, and the tasks that are left to do."""

    header: LengthsHeader
    tasks: list[ModelTask]


def prepare(
    path: Path,
    design: Design,
    device: Device,
    text: Path | None,
    argv: Sequence[str],
    report: Callable[[str], None],
) -> Experiment:
    """Return the experiment of a results file, whose text is then in its folder.

    If the file is there, what it has is left out. `report` hears of what takes seconds.
    Raises BadRequest where the file is of another design, text, device or torch.
    """
    before = read(path) if path.exists() else None
    text_file = models_folder(path) / "text.npz"
    if before is not None and text_file.exists():
        read_text = corpus.load(text_file)
    else:
        files = package_files() if text is None else folder_files(text)
        report(f"learning the vocabulary of {len(files)} files")
        read_text = _build_text(text_file, design, files)
    header = _header(design, device, text, read_text, argv)
    if before is not None:
        _check_same(before.header, header)
        header = msgspec.structs.replace(header, text_name=before.header.text_name)
    return Experiment(header, _tasks(path, header, before))


def models_folder(path: Path) -> Path:
    """Return the folder beside a results file that has its text and the weights of its models."""
    return path.with_suffix(".models")


def _build_text(text_file: Path, design: Design, files: Sequence[SourceFile]) -> corpus.Corpus:
    built = corpus.build(files, design.size.vocabulary, design.lengths[-1], design.windows)
    text_file.parent.mkdir(parents=True, exist_ok=True)
    corpus.save(built, text_file)
    return built


def _header(
    design: Design, device: Device, folder: Path | None, text: corpus.Corpus, argv: Sequence[str]
) -> LengthsHeader:
    packages = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    sizes = text.piece_bytes[text.windows[:, 1:]]
    return LengthsHeader(
        schema=SCHEMA,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        argv=tuple(without_folders(word) for word in argv),
        device=device.name,
        hardware=device.hardware,
        software=software(),
        circumstances=circumstances({}),
        design=design,
        text_name=packages if folder is None else folder.resolve().name,
        text=text.summary,
        window_bytes=tuple(sizes.sum(1).tolist()),
        target_bytes=tuple(sizes[:, -design.trained_len :].sum(1).tolist()),
    )


def _check_same(before: LengthsHeader, now: LengthsHeader) -> None:
    """Raise BadRequest unless a run can go on in a file that another began."""
    pairs = {
        "design": (before.design.name, now.design.name),
        "text": (before.text.digest, now.text.digest),
        "device": (before.device, now.device),
        "torch": (before.software.get("torch"), now.software.get("torch")),
    }
    differing = [f"{name} {old}, now {new}" for name, (old, new) in pairs.items() if old != new]
    if differing or before.design != now.design:
        what = "; ".join(differing) or f"another design named {now.design.name}"
        raise BadRequest(f"--resume: the file is of {what}; start a new one without --resume")


def _tasks(path: Path, header: LengthsHeader, before: LengthsResults | None) -> list[ModelTask]:
    """Return the models that are left, each with its tests that are left."""
    design, folder, tasks = header.design, models_folder(path), []
    for method, seed in design.models():
        done = frozenset() if before is None else before.tests_done(method, seed)
        left = tuple(test for test in design.tests(method) if test not in done)
        weights = folder / f"{method.name}-{seed}.pt"
        if before is None or not before.is_trained(method, seed):
            weights.unlink(missing_ok=True)
        if left:
            tasks.append(
                ModelTask(
                    method=method.name,
                    seed=seed,
                    design=design,
                    text_file=str((folder / "text.npz").absolute()),
                    weights_file=str(weights.absolute()),
                    tests=left,
                    device=header.device,
                )
            )
    return tasks
