"""A case made ready for one variant, and what a lane can be asked to do with it."""

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from suite.agreement.check import WorstErrors, comparison, worst_errors
from suite.agreement.inputs import Inputs, PrepareFunction, draw, spec_of
from suite.agreement.subproblems import Subproblem, subproblems
from suite.cases.case import Case
from suite.clocks.core_waits import waited_ns
from suite.clocks.cuda_graph import capture
from suite.clocks.planted_slowdown import slow_down
from suite.clocks.series import Sampled, Samples
from suite.clocks.timer import Bench, Timer
from suite.lanes import kernel_names
from suite.lanes.decoding import Stepping, graphs_compiled
from suite.lanes.protocol import Checked, Done, Foreseen, Named, Weighed
from suite.memory import predict, weigh
from variants.catalog import Answers
from variants.problem import Attention, Spec

DensityFunction = Callable[[Spec, Tensor, Tensor, Tensor], float]
"""(spec, q, k, slopes) -> the share of all causal pairs that a call computes."""

ChoiceFunction = Callable[[Spec], str]
"""spec -> the name of the variant that another one, which chooses, hands the work to."""


@dataclass(frozen=True)
class Subject:
    """What a lane runs: a variant's module, its options, and what it answers."""

    module: str
    options: Mapping[str, str]
    answers: Answers


class TooLarge(Exception):  # noqa: N818 - a prediction, nothing has gone wrong yet
    """A case that can be told beforehand not to fit."""


def foresee(subject: Subject, case: Case, device: torch.device) -> Foreseen:
    """Tell what the case would take and what is free. Raises TooLarge where that can't fit."""
    needed = predict.predicted_bytes(case, subject.module, subject.options, device)
    free = predict.available_bytes(device)
    if needed is not None and needed > free:
        raise TooLarge(
            f"needs about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: "
            "shorten the length or reduce batch or heads"
        )
    return Foreseen(needed, free)


class Prepared:
    """A case's inputs and the attention that a variant prepared for it."""

    def __init__(
        self, subject: Subject, case: Case, seed: int, bench: Bench, slowed_by: float = 0.0
    ) -> None:
        """Draw the inputs, then let the variant prepare; `slowed_by` is planted in timed calls."""
        self._subject, self._case, self._seed, self._bench = subject, case, seed, bench
        self.spec: Spec = spec_of(case, bench.device)
        self._inputs: Inputs = draw(case, seed, "before", bench.device)
        self._bytes_before = weigh.allocated_bytes(bench.device)
        module = importlib.import_module(subject.module)
        self._prepare: PrepareFunction = partial(module.prepare, **subject.options)
        self._density: DensityFunction | None = getattr(module, "density", None)
        self._chosen: ChoiceFunction | None = getattr(module, "chosen", None)
        start = time.perf_counter()
        self._attention: Attention = self._prepare(self.spec)
        if case.mode == "decode":
            specs = [spec_of(case, bench.device, kv_len) for kv_len in case.kv_lens]
            self._attention = Stepping(self._prepare, specs)
        bench.wait()
        self.prepare_s = time.perf_counter() - start
        self._slowed_by = slowed_by
        self._timer: Timer | None = None

    def first_call(self) -> Done:
        """Call once, compilation included."""
        start = time.perf_counter()
        self._call()()
        self._bench.wait()
        return Done(time.perf_counter() - start)

    def check(self, stage: Literal["before", "after"]) -> Checked:
        """Compare with the oracle, on the timed inputs (before) or on fresh ones (after)."""
        inputs = self._inputs
        if stage == "after":
            inputs = draw(self._case, self._seed, stage, self._bench.device)
        case, device = self._case, self._bench.device
        apart = subproblems(case, self._attention, self._prepare, inputs, device)
        found = comparison(list(map(self._findings, apart)), self.spec.dtype)
        return Checked(found.agrees, found.error, found.budget, found.where)

    def _findings(self, part: Subproblem) -> WorstErrors:
        name, attention, spec, inputs = part
        answers, seed = self._subject.answers, self._seed
        return worst_errors(attention, spec, inputs, answers=answers, seed=seed, name=name)

    def take_turn(self) -> Sampled:
        """Take one turn's samples; in decode a call is a step."""
        if self._timer is None:
            call = self._call()
            self._timer = self._bench.timer(
                slow_down(call, self._slowed_by) if self._slowed_by else call
            )
        began_ns, waited_before_ns = time.perf_counter_ns(), waited_ns()
        steps, graphs = self._steps_taken(), graphs_compiled()
        sampled = self._timer.take()
        waited = waited_ns() - waited_before_ns
        sampled.waited_share = max(0, waited) / (time.perf_counter_ns() - began_ns)
        sampled.calls_per_sample *= len(self._case.kv_lens)
        sampled.steps = self._steps_taken() - steps
        sampled.recompilations = graphs_compiled() - graphs
        return sampled

    def _steps_taken(self) -> int:
        return self._attention.taken if isinstance(self._attention, Stepping) else 0

    def replay(self) -> Sampled:
        """Take one turn of replays of a CUDA graph of the call, as the series `graph`."""
        sampled = self._bench.timer(capture(self._call(), self._bench.device)).take()
        (on_device,) = (one for one in sampled.series if one.name == "device")
        return Sampled([Samples("graph", on_device.samples_ns)], 1, sampled.retaken)

    def weigh(self) -> Weighed:
        """Find what one call allocates and what the variant keeps."""
        inputs = self._inputs
        tensors = (inputs.q, inputs.k, inputs.v, inputs.slopes)
        device = self._bench.device
        if device.type == "cuda":
            weight = weigh.weigh_on_cuda(self._call(), self._bytes_before, device)
        else:
            weight = weigh.weigh_on_cpu(self._call(), self._attention, tensors)
        return Weighed(**vars(weight))

    def name_kernels(self) -> Named:
        """Name the kernels of one profiled call; tell the density or the choice, if there is."""
        chose = self._chosen and self._chosen(self.spec)
        return Named(
            kernel_names.attention_kernels(self._call(), self._bench.device),
            self._computed_share(),
            chose,
        )

    def _computed_share(self) -> float | None:
        if self._density is None or self._case.seq_lens:
            return None
        inputs = self._inputs
        return self._density(self.spec, inputs.q, inputs.k, inputs.slopes)

    def _call(self) -> Callable[[], object]:
        """Return the call that is timed, without arguments."""
        attention, inputs = self._attention, self._inputs
        q, k, v, slopes, dout = inputs.q, inputs.k, inputs.v, inputs.slopes, inputs.dout
        if dout is None:
            return lambda: attention(q, k, v, slopes)

        def forward_and_backward() -> tuple[Tensor, ...]:
            return torch.autograd.grad(attention(q, k, v, slopes), (q, k, v), dout)

        return forward_and_backward
