"""The layers of a recording, read from its header: no tensor is loaded, and no torch imported.

A recording is a safetensors file. Layer NAME has the tensors NAME.q [batch, heads, length,
head_dim], NAME.k and NAME.v [batch, kv_heads, length, head_dim], and perhaps NAME.slopes [heads].
The file's metadata may say `bias_max`, `slope_scale`, `scale` and `causal`, as for a model
(docs/models.md).
"""

from pathlib import Path
from typing import NamedTuple

from suite.failures import BadRequest
from suite.recordings.header import Conventions, Header, read_header
from suite.recordings.names import digest_of

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_OPTION = "--inputs"


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
    header, metadata = read_header(path, what)
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


def _layer(
    recording: str,
    layer: str,
    header: Header,
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
