"""The header of a recording, and the numbers that would make every variant wrong."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from suite.failures import BadRequest

Header = Mapping[str, tuple[list[int], str]]
"""The shape and the dtype, in safetensors' words, of each tensor by name."""

_EXPONENTS = {"F32": 0x7F800000, "BF16": 0x7F80, "F16": 0x7C00}
"""The bits of each dtype that are all ones in a NaN and in an infinity."""


class Conventions(msgspec.Struct, frozen=True):
    """What a recording's metadata says of slopes, scale and mask, in the words of a case."""

    bias_max: float = 8.0
    slope_scale: Literal["1", "1/sqrt(d)"] = "1"
    scale: Literal["1/sqrt(d)", "1/d"] = "1/sqrt(d)"
    causal: bool = True


def read_header(path: Path, what: str) -> tuple[Header, Conventions]:
    """Return each tensor's shape and dtype, and the metadata.

    Raises BadRequest for what is no safetensors file, for numbers that are not finite, and for
    slopes that are none.
    """
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
    """Raise BadRequest for q, k or v with a NaN or an infinity."""
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


def _check_slopes(file: Any, header: Header, what: str) -> None:
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
