"""How a recording is named in cases: "FILE#LAYER@DIGEST", where it lies, and whether it changed."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from suite.failures import BadRequest

FOLDER = "ALIBI_BENCH_FOLDER"
"""The variable that tells a lane the folder from which recordings are named."""


def digest_of(path: Path) -> str:
    """Return a digest of a recording's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=4)).hexdigest()


def file_and_layer(recording: str) -> tuple[Path, str, str]:
    """Return the file, the layer and the digest of a case's recording.

    A relative name is from the folder that the variable FOLDER names, else from the current one.
    """
    place, _, digest = recording.rpartition("@")
    name, _, layer = place.rpartition("#")
    return Path(os.environ.get(FOLDER, ".")) / name, layer, digest


def layer_name(recording: str) -> str:
    """Return a recording's file without its folder, and the layer: "tiny layer2"."""
    place = recording.rpartition("@")[0]
    name, _, layer = place.rpartition("#")
    return f"{name.rpartition('/')[2].removesuffix('.safetensors')} {layer}"


def recorded_id(recording: str) -> str:
    """Return what a case's id says of its recording: "tiny-layer2-1a2b3c4d"."""
    return f"{quote(layer_name(recording), safe='')}-{recording.rpartition('@')[2]}".replace(
        "%20", "-", 1
    )


def check_unchanged(recordings: Iterable[str], option: str) -> None:
    """Raise BadRequest for a recording that is not there, or not what was measured."""
    for recording in dict.fromkeys(recordings):
        path, _, digest = file_and_layer(recording)
        try:
            is_same = digest_of(path) == digest
        except OSError as error:
            raise BadRequest(
                f"{option}: {path}: {error.strerror}; start where the run started, or put it back"
            ) from None
        if not is_same:
            raise BadRequest(
                f"{option}: {path} has changed since; start a new run without --resume"
            )
