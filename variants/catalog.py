"""The catalog of variants, in the order in which lists show them. Imports none of them."""

from typing import Literal, NamedTuple

Answers = Literal["alibi", "no_bias"]


class Variant(NamedTuple):
    """One line of the catalog: a name, the module whose prepare makes it, and what it answers."""

    name: str
    module: str
    answers: Answers = "alibi"


BASELINE = Variant("no_bias", "variants.no_bias", answers="no_bias")

CATALOG = (
    BASELINE,
    Variant("eager", "variants.eager"),
    Variant("compile", "variants.compile"),
    Variant("flex", "variants.flex"),
    Variant("sdpa_mask", "variants.sdpa_mask"),
    Variant("sdpa_key", "variants.sdpa_key"),
)
