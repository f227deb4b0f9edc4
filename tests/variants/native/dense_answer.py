"""native_window's answer to dense tensors."""

from dataclasses import replace

from torch import Tensor

from tests.variants.attacks import spec_for
from variants.native.native_window import prepare


def answer(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, *, causal: bool = True) -> Tensor:
    return prepare(replace(spec_for(q, k), causal=causal))(q, k, v, slopes)
