"""The layers of a recording, read from its header: no tensor is loaded, and no torch imported.

A recording is a safetensors file. Layer NAME has the tensors NAME.q [batch, heads, length,
head_dim], NAME.k and NAME.v [batch, kv_heads, length, head_dim], and perhaps NAME.slopes [heads].
The file's metadata may say `bias_max`, `slope_scale`, `scale` and `causal`, as for a model
(docs/models.md).
"""

import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import msgspec

from suite.failures import BadRequest

FOLDER = "ALIBI_BENCH_FOLDER"
"""The variable that tells a lane the folder from which recordings are named."""

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_EXPONENTS = {"F32": 0x7F800000, "BF16": 0x7F80, "F16": 0x7C00}
_OPTION = "--inputs"


class Conventions(msgspec.Struct, frozen=True):
    """What a recording's metadata says of slopes, scale and mask, in the words of a case."""

    bias_max: float = 8.0
    slope_scale: Literal["1", "1/sqrt(d)"] = "1"
    scale: Literal["1/sqrt(d)", "1/d"] = "1/sqrt(d)"
    causal: bool = True


class RecordedLayer(NamedTuple):
    """A layer of a recording; `recording` names it and its file's digest."""

    recording: str
    batch: int
    heads: int
    kv_heads: int
    length: int
    head_dim: int
    dtype: str
    conventions: Conventions


def read_layers(word: str) -> list[RecordedLayer]:
    """Return the layers of `FILE`, or the one of `FILE#LAYER`.

    Raises BadRequest for what is no recording, and for a layer that it does not have.
    """
    what = f"{_OPTION} {word}"
    name, _, wanted = (word, "", "") if Path(word).is_file() else word.rpartition("#")
    path = Path(name or wanted)
    if not path.is_file():
        raise BadRequest(f"{what}: no such file; give FILE.safetensors or FILE#LAYER")
    header, metadata = _header(path, what)
    layers = [key.removesuffix(".q") for key in header if key.endswith(".q")]
    odd = [layer for layer in layers if not layer.isprintable() or "#" in layer or "@" in layer]
    if odd:
        raise BadRequest(f"{what}: layer {odd[0]!r}: name it in printable characters but # and @")
    if wanted and wanted not in layers:
        raise BadRequest(f"{what}: no such layer; there are {', '.join(layers) or 'none'}")
    if not layers:
        raise BadRequest(f"{what}: it has no tensor named LAYER.q; see docs/your-inputs.md")
    digest = digest_of(path)
    return [
        _layer(f"{name}#{layer}@{digest}", layer, header, metadata, what)
        for layer in layers
        if wanted in {"", layer}
    ]


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


def _header(path: Path, what: str) -> tuple[dict[str, tuple[list[int], str]], Conventions]:
    """Return each tensor's shape and dtype, and the metadata."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise BadRequest(f"{what}: {error}; pip install safetensors") from None
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - no mapping
            header = {key: (each.get_shape(), each.get_dtype()) for key, each in slices.items()}
            metadata = file.metadata() or {}
            _check_slopes(file, header, what)
        _check_finite(path, what)
    except (OSError, SafetensorError) as error:
        raise BadRequest(f"{what}: {error}") from None
    try:
        return header, msgspec.convert(metadata, Conventions, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{what}: its metadata: {error}") from None


def _check_finite(path: Path, what: str) -> None:
    """Raise BadRequest for q, k or v with a NaN or an infinity, whose exponents are all ones."""
    import numpy
    from safetensors import deserialize

    tensors: list[tuple[str, dict[str, Any]]] = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    for key, tensor in tensors:
        if key.rpartition(".")[2] in {"q", "k", "v"} and tensor["dtype"] in _EXPONENTS:
            exponent = _EXPONENTS[tensor["dtype"]]
            kind = "<u4" if exponent > 1 << 16 else "<u2"
            bits: Any = numpy.frombuffer(tensor["data"], kind)
            if (bits & exponent == exponent).any():
                raise BadRequest(f"{what}: {key} has NaN or infinite numbers; record it again")


def _check_slopes(file: Any, header: Mapping[str, tuple[list[int], str]], what: str) -> None:
    """Raise BadRequest for slopes that are not float32, one a head, finite and positive."""
    for key, (shape, kind) in header.items():
        layer, _, name = key.rpartition(".")
        if name != "slopes" or f"{layer}.q" not in header:
            continue
        heads = header[f"{layer}.q"][0][1:2]
        values = file.get_tensor(key).tolist() if (shape, kind) == (heads, "F32") else ()
        if not values or not all(0 < value < math.inf for value in values):
            raise BadRequest(
                f"{what}: {key} has shape {shape} in {kind}; give [heads] = {heads} in F32, finite "
                "and over 0"
            )


def _layer(
    recording: str,
    layer: str,
    header: Mapping[str, tuple[list[int], str]],
    metadata: Conventions,
    what: str,
) -> RecordedLayer:
    """Return a layer of a header. Raises BadRequest for shapes that make no attention."""
    try:
        (q, kind), (k, _), (v, _) = (header[f"{layer}.{name}"] for name in "qkv")
    except KeyError as error:
        raise BadRequest(f"{what}: it has no tensor {error}") from None
    kinds = {header[f"{layer}.{name}"][1] for name in "qkv"}
    same = len(q) == len(k) == 4 and k == v and [q[0], *q[2:]] == [k[0], *k[2:]]
    if kinds != {kind} or kind not in _DTYPES or not same or 0 in (*q, *k) or q[1] % k[1]:
        shapes = ", ".join(f"{name} {shape}" for name, shape in (("q", q), ("k", k), ("v", v)))
        raise BadRequest(
            f"{what}: layer {layer} has {shapes} in {', '.join(sorted(kinds))}; give q [batch, "
            "heads, length, head_dim], k and v [batch, kv_heads, length, head_dim], all in F32, "
            "BF16 or F16"
        )
    batch, heads, length, head_dim = q
    return RecordedLayer(recording, batch, heads, k[1], length, head_dim, _DTYPES[kind], metadata)


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
