"""Import of a provider's package, and what a provider takes."""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from variants.problem import Spec, Unsupported
from variants.tracing import is_traced


def package(module: str, install: str) -> Any:
    """Return a provider's module, imported. `install` is the command that installs it.

    Raises Unsupported, with that command, where the module or one that it needs is missing.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unsupported(f"{error}; install it: {install}") from None


def folder_of(module: str, install: str) -> Path:
    """Return the folder of a package, without importing it. Raises Unsupported as `package`."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise Unsupported(f"No module named {module!r}; install it: {install}")
    return Path(spec.origin).parent


class Abilities(NamedTuple):
    """What a provider takes; the defaults are what most of them take."""

    name: str
    device: str = "cpu"
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    bidirectional: bool = False
    grouped: bool = True
    gradients: bool = False
    head_dim_multiple: int = 1
    """Divides every head_dim that it takes."""
    any_scale: bool = True
    traceable: bool = False
    """Whether it is made of torch's operators, and not of another library's on their memory."""

    def decline(self, spec: Spec) -> None:
        """Raise Unsupported for a spec that the provider does not take, or not as ALiBi."""
        dtype = str(spec.dtype).removeprefix("torch.")
        if not self.traceable and is_traced():
            wrong = "reads memory, which traced tensors have not"
        elif spec.device.type != self.device:
            wrong = f"runs on {self.device}"
        elif dtype not in self.dtypes:
            wrong = f"takes {' and '.join(self.dtypes)} and not {dtype}"
        elif spec.seq_lens or spec.extras.names:
            wrong = "is raced on batches of equal length, without window or padding"
        elif spec.slopes_need_grad:
            wrong = "gives the slopes no gradient"
        elif spec.needs_grad and not self.gradients:
            wrong = "has no backward here"
        elif not spec.causal and not self.bidirectional:
            wrong = "has no bidirectional ALiBi"
        elif spec.heads != spec.kv_heads and not self.grouped:
            wrong = "takes as many kv heads as heads"
        elif spec.head_dim % self.head_dim_multiple:
            wrong = f"takes multiples of {self.head_dim_multiple} as head_dim, not {spec.head_dim}"
        elif not self.any_scale and abs(spec.scale * spec.head_dim**0.5 - 1) > 1e-6:
            wrong = f"has the scale 1/sqrt(head_dim) and not {spec.scale:g}"
        else:
            return
        raise Unsupported(f"{self.name} {wrong}")
