"""A case prepared for one variant: call, check, time, weigh and profile it."""

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from suite.agreement.check import WorstErrors, compare_parts, worst_errors
from suite.agreement.inputs import Inputs, PrepareFunction, draw, spec_of
from suite.agreement.subproblems import Subproblem, subproblems
from suite.cases.case import Case
from suite.clocks.core_waits import core_wait_ns
from suite.clocks.cuda_graph import capture
from suite.clocks.planted_slowdown import slow_down
from suite.clocks.series import Samples, TurnSamples
from suite.clocks.timer import Bench, Timer
from suite.lanes import kernel_names
from suite.lanes.decoding import DecodeSteps, graphs_compiled
from suite.lanes.protocol import CheckResult, Done, KernelNames, MemoryForecast, WeighResult
from suite.memory import predict, weigh
from variants.catalog import Answers
from variants.problem import Attention, Spec

DensityFunction = Callable[[Spec, Tensor, Tensor, Tensor], float]
"""(spec, q, k, slopes) -> the share of unmasked pairs that a call computes."""

ChoiceFunction = Callable[[Spec], str]
"""spec -> the name of the variant that `auto` picks."""


@dataclass(frozen=True)
class Subject:
    """The variant that a lane runs: its module, its options, and the oracle it is held against."""

    module: str
    options: Mapping[str, str]
    answers: Answers


class TooLarge(Exception):  # noqa: N818 - a prediction, nothing has gone wrong yet
    """A case whose predicted memory is over what is free."""


def foresee(subject: Subject, case: Case, device: torch.device) -> MemoryForecast:
    """Return the bytes that a case needs, and the bytes that are free.

    Raises TooLarge when the case needs more than are free.
    """
    needed = predict.predicted_bytes(case, subject.module, subject.options, device)
    free = predict.available_bytes(device)
    if needed is not None and needed > free:
        raise TooLarge(
            f"needs about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: "
            "shorten the length or reduce batch or heads"
        )
    return MemoryForecast(needed, free)


class PreparedCase:
    """A case's inputs and the attention that a variant prepared for it."""

    def __init__(
        self, subject: Subject, case: Case, seed: int, bench: Bench, slowed_by: float = 0.0
    ) -> None:
        """Draw the inputs, then let the variant prepare, which is timed.

        `slowed_by` is a share of a call's time that timed calls take longer.
        """
        self._subject, self._case, self._seed, self._bench = subject, case, seed, bench
        self.spec: Spec = spec_of(case, bench.device)
        self._inputs: Inputs = draw(case, seed, "before", bench.device)
        self._bytes_before = weigh.allocated_bytes(bench.device)
        module = importlib.import_module(subject.module)
        self._prepare: PrepareFunction = partial(module.prepare, **subject.options)
        self._density: DensityFunction | None = getattr(module, "density", None)
        self._choice: ChoiceFunction | None = getattr(module, "choice", None)
        start = time.perf_counter()
        self._attention: Attention = self._prepare(self.spec)
        if case.mode == "decode":
            specs = [spec_of(case, bench.device, kv_len) for kv_len in case.kv_lens]
            self._attention = DecodeSteps(self._prepare, specs)
        bench.wait()
        self.prepare_s = time.perf_counter() - start
        self._slowed_by = slowed_by
        self._timer: Timer | None = None

    def first_call(self) -> Done:
        """Call once, compilation included, and return the time."""
        start = time.perf_counter()
        self._call()()
        self._bench.wait()
        return Done(time.perf_counter() - start)

    def check(self, stage: Literal["before", "after"]) -> CheckResult:
        """Compare a call with the oracle: on the timed inputs ("before") or new ones ("after")."""
        inputs = self._inputs
        if stage == "after":
            inputs = draw(self._case, self._seed, stage, self._bench.device)
        case, device = self._case, self._bench.device
        parts = subproblems(case, self._attention, self._prepare, inputs, device)
        check = compare_parts(list(map(self._worst_errors, parts)), self.spec.dtype)
        return CheckResult(check.agrees, check.error, check.budget, check.where)

    def _worst_errors(self, part: Subproblem) -> WorstErrors:
        name, attention, spec, inputs = part
        answers, seed = self._subject.answers, self._seed
        return worst_errors(attention, spec, inputs, answers=answers, seed=seed, name=name)

    def take_turn(self) -> TurnSamples:
        """Take one turn's samples; in decode each step counts as a call."""
        if self._timer is None:
            call = self._call()
            self._timer = self._bench.timer(
                slow_down(call, self._slowed_by) if self._slowed_by else call
            )
        began_ns, wait_before_ns = time.perf_counter_ns(), core_wait_ns()
        steps, graphs = self._steps_taken(), graphs_compiled()
        turn = self._timer.take()
        wait_ns = core_wait_ns() - wait_before_ns
        turn.waited_share = max(0, wait_ns) / (time.perf_counter_ns() - began_ns)
        turn.calls_per_sample *= len(self._case.kv_lens)
        turn.steps = self._steps_taken() - steps
        turn.recompilations = graphs_compiled() - graphs
        return turn

    def _steps_taken(self) -> int:
        return self._attention.steps_taken if isinstance(self._attention, DecodeSteps) else 0

    def replay(self) -> TurnSamples:
        """Take one turn of replays of a CUDA graph of the call, as the series `graph`."""
        turn = self._bench.timer(capture(self._call(), self._bench.device)).take()
        (device,) = (samples for samples in turn.series if samples.name == "device")
        return TurnSamples([Samples("graph", device.samples_ns)], 1, turn.retaken)

    def weigh(self) -> WeighResult:
        """Return the bytes that one call allocates and those that the variant keeps."""
        inputs = self._inputs
        tensors = (inputs.q, inputs.k, inputs.v, inputs.slopes)
        device = self._bench.device
        if device.type == "cuda":
            weight = weigh.weigh_on_cuda(self._call(), self._bytes_before, device)
        else:
            weight = weigh.weigh_on_cpu(self._call(), self._attention, tensors)
        return WeighResult(**vars(weight))

    def name_kernels(self) -> KernelNames:
        """Return the kernels of one profiled call, and the variant's density or choice, if any."""
        choice = self._choice and self._choice(self.spec)
        return KernelNames(
            kernel_names.attention_kernels(self._call(), self._bench.device),
            self._computed_share(),
            choice,
        )

    def _computed_share(self) -> float | None:
        if self._density is None or self._case.seq_lens:
            return None
        inputs = self._inputs
        return self._density(self.spec, inputs.q, inputs.k, inputs.slopes)

    def _call(self) -> Callable[[], object]:
        """Return the call to time, as a function without arguments."""
        attention, inputs = self._attention, self._inputs
        q, k, v, slopes, dout = inputs.q, inputs.k, inputs.v, inputs.slopes, inputs.dout
        if dout is None:
            return lambda: attention(q, k, v, slopes)

        def forward_and_backward() -> tuple[Tensor, ...]:
            return torch.autograd.grad(attention(q, k, v, slopes), (q, k, v), dout)

        return forward_and_backward
