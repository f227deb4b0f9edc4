"""Released ALiBi models as presets: the shape of each one's attention, and the source of it.

models.json beside this file has one model a line. A user's file of models has the same form.
"""

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from suite.cases import parse
from suite.cases.case import LARGEST, MOST_BIAS_MAX, Scale, SlopeScale
from suite.cases.sweeps import Shape
from suite.failures import BadRequest

BUILT_IN = Path(__file__).with_name("models.json")
_COUNTS = ("layers", "heads", "kv_heads", "head_dim", "hidden", "train_len", "batch")


class UnreadableModels(BadRequest):
    """A file of models that can't be used; the text says which file, where in it and why."""


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's attention.

    `lengths` are measured if the user names none; most models' reach twice `train_len` or more.
    `bias_form` says how the model's code writes the bias: the forms mean the same and round
    differently. `source` says where the numbers were verified, or that they come from memory.

    Raises ValueError for numbers that make no attention.
    """

    name: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    train_len: int
    attn: Literal["causal", "bidirectional"]
    bias_max: float
    slope_scale: SlopeScale
    bias_form: Literal["key", "key-end", "relative"]
    scale: Scale
    lengths: tuple[int, ...]
    batch: int
    source: str

    def __post_init__(self) -> None:
        counts = [(name, getattr(self, name)) for name in _COUNTS]
        for name, count in [*counts, *(("lengths", length) for length in self.lengths)]:
            if not 1 <= count <= LARGEST:
                raise ValueError(f"{name} {count}: give at least 1 and at most {LARGEST}")
        if not 0 < self.bias_max <= MOST_BIAS_MAX:
            raise ValueError(f"bias_max {self.bias_max}: give over 0, at most {MOST_BIAS_MAX}")
        if self.heads * self.head_dim != self.hidden:
            raise ValueError(
                f"{self.heads} heads of {self.head_dim} don't make hidden {self.hidden}"
            )
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads can't share {self.kv_heads} kv heads evenly")
        if not self.lengths or list(self.lengths) != sorted(set(self.lengths)):
            lengths = list(self.lengths)
            raise ValueError(f"lengths {lengths}: give at least one, each once, in rising order")

    @property
    def shape(self) -> Shape:
        """The model's attention as a shape of a sweep."""
        return Shape(
            heads=self.heads,
            head_dim=self.head_dim,
            kv_heads=self.kv_heads,
            causal=self.attn == "causal",
            bias_max=self.bias_max,
            slope_scale=self.slope_scale,
            scale=self.scale,
            lengths=self.lengths,
            batch=self.batch,
            model=self.name,
        )


def models_named(word: str) -> list[Model]:
    """Return what a word of --models names: a preset, or all models of a file in their form.

    Raises BadRequest for what is neither.
    """
    if not word.endswith(".json"):
        return [built_in()[parse.name("--models", word, built_in())]]
    try:
        return [*read(Path(word)).values()]
    except UnreadableModels as error:
        raise BadRequest(f"--models {error}") from None


def word_for_shape(text: str, shape: Shape) -> str:
    """Return the word of --models `text` that names a model with the attention of a shape.

    A causal model has that of a bidirectional shape too, by --noncausal. One word must name it.
    """
    return next(
        word
        for word in parse.words("--models", text)
        for own in (model.shape for model in models_named(word))
        if own._replace(causal=own.causal and shape.causal, lengths=(), batch=1, model="") == shape
    )


@cache
def built_in() -> dict[str, Model]:
    """Return the models that come with this project, by name."""
    return read(BUILT_IN)


def read(path: Path) -> dict[str, Model]:
    """Return the models of a file by name.

    Raises UnreadableModels for a file that can't be read, has another form or repeats a name.
    """
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[Model])
    except OSError as error:
        raise UnreadableModels(f"{path}: {error.strerror or error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise UnreadableModels(f"{path}: {why}; docs/models.md has the form") from None
    models = {row.name: row for row in rows}
    if len(models) < len(rows) or not models:
        raise UnreadableModels(f"{path}: give at least one model, and each name once")
    return models
