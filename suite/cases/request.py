"""A request: the grid options of a command line, and the plan or the cases that they ask for."""

from collections.abc import Mapping, Sequence

import msgspec

from suite.cases import parse
from suite.cases.case import DTYPES, LAYOUTS, MODES, SIDES, Case, Dtype
from suite.cases.models import models_named
from suite.cases.plan import Plan
from suite.cases.sweeps import DEFAULT_SWEEPS, SWEEPS, Shape, Sweep
from suite.failures import BadRequest
from suite.kernels.user_kernels import UserKernel, is_user_kernel, read_kernels
from suite.recordings.layers import read_layers
from suite.recordings.names import layer_name
from variants.catalog import BASELINE, PEERS, RACED, on


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a command line asks to be measured: a field for each grid option, as it was typed.

    None leaves what the sweep or the model has. Lists are comma-separated; `models` are names of
    presets, or files of the user's own in their form. Field `kv_heads` is option --kv-heads.
    `python` are words like NAME=PROGRAM.
    """

    sweep: str | None = None
    models: str | None = None
    lengths: str | None = None
    dtypes: str | None = None
    modes: str | None = None
    q_len: int | None = None
    seq_lens: str | None = None
    requests: str | None = None
    padding: str | None = None
    window: int | None = None
    norms: bool = False
    inputs: str | None = None
    variants: str | None = None
    python: tuple[str, ...] = ()
    batch: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    noncausal: bool = False
    layout: str | None = None
    logit_scale: float | None = None
    passes: int | None = None
    seed: int = 0
    step_timeout: str = "120s"

    def plan(self, device: str, half: Dtype = "bfloat16", usual: str | None = None) -> Plan:
        """Return the plan for a device by torch's name.

        `usual` is the sweep where none is typed, by default that of the device's kind. Where no
        dtypes are typed, `half` takes the place of bfloat16 in those of sweeps and models. Raises
        BadRequest for a name that doesn't exist, a number out of range, or options that make no
        case together.
        """
        kind = device.partition(":")[0]
        grid = self._grid(usual or DEFAULT_SWEEPS[kind])
        if self.dtypes is None and self.inputs is None:
            grid = grid.in_half(half)
        names, kernels = _variants(self.variants, kind)
        cases, pythons = _cases(grid, self._shape_options()), _pythons(self.python, names)
        try:
            return Plan(
                cases=cases,
                variants=names,
                passes=grid.passes,
                seed=parse.seed("--seed", self.seed),
                step_timeout_s=parse.seconds("--step-timeout", self.step_timeout),
                device=device,
                kernels=kernels,
                pythons=pythons,
            )
        except ValueError as error:  # too many cells
            raise BadRequest(str(error)) from None

    def cases(self) -> list[Case]:
        """Return the cases alone, with the CPU's default sweep for what is left open.

        Raises BadRequest as `plan` does.
        """
        return list(_cases(self._grid(DEFAULT_SWEEPS["cpu"]), self._shape_options()))

    def _grid(self, usual: str) -> Sweep:
        grid = self._with_heads(self._starting_grid(usual))
        if self.requests is not None:
            self._refuse("beside --requests, which are packed", "seq_lens", "padding")
        if grid.seq_lens or self.seq_lens is not None or self.requests is not None:
            self._refuse("beside sequences, which have their own", "lengths", "batch", "q_len")
        q_lens, kv_lens = parse.requests("--requests", self.requests)
        typed: dict[str, object] = {
            "lengths": parse.lengths("--lengths", self.lengths),
            "seq_lens": parse.batch_lengths("--seq-lens", self.seq_lens) or kv_lens,
            "q_lens": () if self.seq_lens is not None else q_lens,
            "dtypes": parse.dtypes("--dtypes", self.dtypes, DTYPES),
            "modes": parse.names("--modes", self.modes, MODES),
            "batch": parse.count("--batch", self.batch),
            "q_len": parse.count("--q-len", self.q_len),
            "passes": parse.count("--passes", self.passes),
            "logit_scale": parse.factor("--logit-scale", self.logit_scale),
            "window": parse.count("--window", self.window),
            "norms": self.norms or None,
            "padding": self.padding and parse.name("--padding", self.padding, SIDES),
            "layout": self.layout and parse.name("--layout", self.layout, LAYOUTS),
        }
        if self.padding and not typed["seq_lens"] and not grid.seq_lens:
            raise BadRequest(
                f"--padding {self.padding} pads sequences of unequal length; "
                "give them, such as --seq-lens 900,512,40"
            )
        return grid._replace(**_without_none(typed))  # type: ignore[arg-type]

    def _starting_grid(self, usual: str) -> Sweep:
        """Return the grid of the models, or else of the sweep typed, or else of the usual one."""
        if self.inputs is not None:
            why = "beside --inputs: a recording has its own"
            fields = (
                "sweep",
                "models",
                "seq_lens",
                "requests",
                "batch",
                "heads",
                "kv_heads",
                "head_dim",
            )
            self._refuse(why, *fields, "logit_scale")
            return self._grid_of_recording(self.inputs)
        if self.models is None:
            return SWEEPS[
                parse.name("--sweep", usual if self.sweep is None else self.sweep, SWEEPS)
            ]
        why = "beside --models: a model has its own"
        self._refuse(why, "sweep", "heads", "kv_heads", "head_dim")
        return _grid_of_models(self.models)

    def _grid_of_recording(self, word: str) -> Sweep:
        """Return the grid of a recording's layers, in the dtype that they were recorded in."""
        layers = read_layers(word)
        longest = min(layer.length for layer in layers)
        for length in parse.lengths("--lengths", self.lengths) or ():
            if length > longest:
                raise BadRequest(f"--lengths {length}: {word} has {longest} tokens; give no more")
        dtypes = tuple(dict.fromkeys(layer.dtype for layer in layers))
        shapes = tuple(
            Shape(
                heads=layer.heads,
                kv_heads=layer.kv_heads,
                head_dim=layer.head_dim,
                lengths=(layer.length,),
                batch=layer.batch,
                recording=layer.recording,
                **msgspec.structs.asdict(layer.conventions),
            )
            for layer in layers
        )
        return Sweep("recorded", (), dtypes, ("forward",), shapes)  # type: ignore[arg-type]

    def _with_heads(self, grid: Sweep) -> Sweep:
        """Return the grid with the heads and the mask that were typed."""
        typed = {
            name: parse.count(_option(name), getattr(self, name))
            for name in ("heads", "kv_heads", "head_dim")
        }
        changes = _without_none(typed)
        shapes = tuple(
            shape._replace(causal=shape.causal and not self.noncausal, **changes)  # type: ignore[arg-type]
            for shape in grid.shapes
        )
        for shape in shapes:
            if shape.kv_heads and shape.heads % shape.kv_heads:
                raise BadRequest(
                    f"--kv-heads {shape.kv_heads}: {shape.heads} heads can't share them evenly; "
                    "give a divisor of --heads"
                )
        return grid._replace(shapes=shapes)

    def _shape_options(self) -> list[str]:
        """Return the options typed of those that a case may have no meaning by."""
        lengths = ("sweep", "models", "lengths", "seq_lens", "requests", "q_len", "modes")
        rest = ("noncausal", "padding", "window", "norms", "layout")
        return [_option(field) for field in (*lengths, *rest) if getattr(self, field)]

    def _refuse(self, why: str, *fields: str) -> None:
        """Raise BadRequest for the first of the fields that was typed."""
        for field in fields:
            value, option = getattr(self, field), _option(field)
            if value is not None:
                raise BadRequest(f"{option} {value} {why}; drop {option}")


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _without_none(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _grid_of_models(text: str) -> Sweep:
    """Return the grid of the models named, each with its usual lengths and batch."""
    words = parse.words("--models", text)
    shapes = tuple(model.shape for word in words for model in models_named(word))
    return Sweep("models", (), ("bfloat16",), ("forward",), shapes)


def _cases(grid: Sweep, options: list[str]) -> tuple[Case, ...]:
    """Return the grid's cases, each once.

    Raises BadRequest that names the options typed, and the model or the layer at fault.
    """
    cases: list[Case] = []
    for shape in grid.shapes:
        try:
            cases += grid._replace(shapes=(shape,)).cases()
        except ValueError as error:
            if shape.recording:
                name = layer_name(shape.recording)
                raise BadRequest(f"--inputs: {name} makes no case: {error}") from None
            of = f" of {shape.model}" if shape.model else ""
            makes = "makes" if len(options) == 1 else "make"
            raise BadRequest(f"{' and '.join(options)} {makes} no case{of}: {error}") from None
    return tuple(dict.fromkeys(cases))


def _pythons(words: Sequence[str], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return each variant with the interpreter of its lanes, from words like NAME=PROGRAM."""
    pythons: dict[str, str] = {}
    for word in words:
        planned = [name for name in names if word.startswith(f"{name}=")]
        name = max(planned, key=len) if planned else word.partition("=")[0]  # names may have a "="
        mark, executable = word[len(name) : len(name) + 1], word[len(name) + 1 :]
        if not mark or not executable:
            raise BadRequest(f"--python {word}: give a variant and a program, NAME=PROGRAM")
        if name in pythons:
            raise BadRequest(f"--python {word}: {name} has {pythons[name]} already; give one")
        pythons[parse.name("--python", name, names)] = executable
    return tuple(pythons.items())


def _variants(text: str | None, kind: str) -> tuple[tuple[str, ...], tuple[UserKernel, ...]]:
    """Return the variants typed, the baseline among them, or a device's default set.

    The word "default" stands for that set, and "peers" for other projects' kernels for the device.
    Kernels of the user's own come last, and beside the names.
    """
    sets = {
        "default": [variant.name for variant in on(kind)],
        "peers": [variant.name for variant in PEERS if variant.device in ("any", kind)],
    }
    catalog = [variant.name for variant in RACED]
    typed = parse.words("--variants", "default" if text is None else text)
    kernels = read_kernels(word for word in typed if is_user_kernel(word))
    names: set[str] = set()
    for word in typed:
        if word in sets:
            names.update(sets[word])
        elif not is_user_kernel(word):
            names.add(parse.name("--variants", word, catalog))
    chosen = [name for name in catalog if name in names or name == BASELINE.name]
    return (*chosen, *(kernel.name for kernel in kernels)), kernels
