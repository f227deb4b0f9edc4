"""ALiBi attention by the backend that is fastest on this machine.

    import alibi_bench

    out = alibi_bench.alibi_attention(q, k, v)  # [batch, heads, length, head_dim]

Importing this imports no torch; the first use of a name does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from variants.attention import alibi_attention, variant_for
    from variants.batches.cache_norms import append_norms, cache_norms
    from variants.problem import Unsupported, alibi_slopes

    __version__: str

__all__ = [
    "Unsupported",
    "__version__",
    "alibi_attention",
    "alibi_slopes",
    "append_norms",
    "cache_norms",
    "variant_for",
]

_MODULES = {
    "alibi_attention": "variants.attention",
    "variant_for": "variants.attention",
    "alibi_slopes": "variants.problem",
    "append_norms": "variants.batches.cache_norms",
    "cache_norms": "variants.batches.cache_norms",
    "Unsupported": "variants.problem",
}


def __getattr__(name: str) -> object:
    """Return a public name at its first use, and keep it."""
    if name == "__version__":
        value: object = import_module("variants.host.installation").version()
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
