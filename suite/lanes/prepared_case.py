"""A case prepared for one variant: call, check, time, weigh and profile it."""

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from suite.agreement.case_check import CaseCheck
from suite.agreement.inputs import Inputs, draw, spec_of
from suite.agreement.preparation import prepare_function, spec_in_pages
from suite.agreement.rotation import CallResults, Rotation, TimedCall
from suite.agreement.subproblems import parts_of
from suite.cases.case import Case
from suite.clocks.core_times import core_times
from suite.clocks.cuda_stream import capture
from suite.clocks.planted_slowdown import slow_down
from suite.clocks.series import Samples, TurnSamples
from suite.clocks.timer import Bench, Timer
from suite.clocks.workload import RepeatedCall
from suite.conditions.policy import INPUT_SETS
from suite.conditions.thread_pools import thread_pools
from suite.kernels.variant_module import variant_module
from suite.lanes import kernel_names
from suite.lanes.decoding import DecodeSteps, graphs_compiled
from suite.lanes.protocol import CheckResult, Done, KernelNames, MemoryForecast, WeighResult
from suite.memory import predict, weigh
from variants.catalog import Answers
from variants.problem import Attention, Spec

DensityFunction = Callable[..., float]
"""(spec, q, k, v, slopes) -> the share of unmasked pairs that a call computes."""

KeepCacheFunction = Callable[[Tensor, Tensor], None]
"""(k, v) -> nothing: a variant takes over a cache in its own form, outside of what is timed."""

ChoiceFunction = Callable[[Spec], str]
"""spec -> the name of the variant that `auto` picks."""


@dataclass(frozen=True)
class Subject:
    """The variant that a lane runs: its module, its options, and the oracle it is held against."""

    module: str
    options: Mapping[str, str | float | bool]
    answers: Answers


class TooLarge(Exception):  # noqa: N818 - a prediction, nothing has gone wrong yet
    """A case whose predicted memory is over what is free."""


def foresee(
    subject: Subject, case: Case, device: torch.device, needed_bytes: int | None = None
) -> MemoryForecast:
    """Return the bytes that a case needs, and the bytes that are free.

    `needed_bytes` takes the place of a prediction where there is one already. Raises TooLarge when
    the case needs more than are free.
    """
    needed = needed_bytes
    if needed is None:
        needed = predict.predicted_bytes(case, subject.module, subject.options, device)
    free = predict.available_bytes(device)
    if needed is not None and needed > free:
        raise TooLarge(
            f"needs about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: "
            "shorten the length or reduce batch or heads"
        )
    return MemoryForecast(needed, free)


class PreparedCase:
    """A case's sets of inputs and the attention that a variant prepared for it."""

    def __init__(
        self, subject: Subject, case: Case, inputs_seed: int, bench: Bench, slowed_by: float = 0.0
    ) -> None:
        """Draw the inputs, then let the variant prepare, which is timed.

        `slowed_by` is a share of a call's time that timed calls take longer.
        """
        device = bench.device
        self._case, self._inputs_seed, self._bench = case, inputs_seed, bench
        self.spec: Spec = spec_of(case, device)
        module = variant_module(subject.module)
        self._keep_cache: KeepCacheFunction | None = getattr(module, "keep_cache", None)
        draw_inputs = partial(_draw, case, device, self._keep_cache)
        sets = [draw_inputs(inputs_seed, f"set {place}") for place in range(INPUT_SETS)]
        # A model has one tensor of slopes, and variants store what they make of it.
        sets = [replace(inputs, slopes=sets[0].slopes) for inputs in sets]
        self._bytes_before = weigh.allocated_bytes(device)
        prepare = prepare_function(subject.module, subject.options, case, device)
        self._density: DensityFunction | None = getattr(module, "density", None)
        self._choice: ChoiceFunction | None = getattr(module, "choice", None)
        start = time.perf_counter()
        self._attention: Attention | DecodeSteps = prepare(self.spec)
        if case.mode == "decode":
            specs = [spec_of(case, device, kv_len) for kv_len in case.kv_lens]
            self._attention = DecodeSteps(prepare, specs, in_pages=case.layout == "paged")
        bench.wait()
        self.prepare_s = time.perf_counter() - start
        self._check = CaseCheck(
            case, subject.answers, self._attention, prepare, device, draw_inputs
        )
        places = [part.place for part in parts_of(case, device)]
        self._rotation = Rotation(sets, self._call_on, places, partial(_slow_down, slowed_by))
        self._timer: Timer | None = None

    def first_call(self) -> Done:
        """Call once, compilation included, and return the time."""
        call = self._rotation.first_call()
        start = time.perf_counter()
        call()
        self._bench.wait()
        return Done(time.perf_counter() - start)

    def check(self, stage: Literal["before", "after", "uneven"], rows_seed: int) -> CheckResult:
        """Compare calls with the oracle: on all timed inputs ("before") or on new ones.

        `rows_seed` draws the rows that are compared in float64, and the new inputs. Raises
        BrokenRule when a call has changed its inputs.
        """
        if stage == "before":
            check = self._check.on_timed_inputs(self._rotation, self._inputs_seed, rows_seed)
        else:
            self._check.refuse_changed_inputs(self._rotation, self._inputs_seed)
            check = self._check.on_new_inputs(rows_seed, stage)
        return CheckResult(check.agrees, check.error, check.budget, check.where)

    def check_uneven_too(self, rows_seed: int) -> CheckResult:
        """Check the timed inputs, then some whose tokens differ in size; return the worse."""
        even = self.check("before", rows_seed)
        if not even.agrees:
            return even
        uneven = self.check("uneven", rows_seed)
        if uneven.agrees and uneven.error * even.budget < even.error * uneven.budget:
            return even
        uneven.where = f"some tokens far larger, {uneven.where}"
        return uneven

    def take_turn(self) -> TurnSamples:
        """Take one turn's samples; in decode each step counts as a call."""
        if self._timer is None:
            self._timer = self._bench.timer(self._rotation)
        else:
            self._rotation.exchange()  # not after the turn: its threads would spin into the next
            for inputs in self._rotation.sets:
                _hand_over(inputs, self._keep_cache)
        began_ns, wait_before_ns = time.perf_counter_ns(), core_times().wait_ns
        steps, graphs = self._steps_taken(), graphs_compiled()
        turn = self._timer.take()
        wait_ns = core_times().wait_ns - wait_before_ns
        turn.waited_share = max(0, wait_ns) / (time.perf_counter_ns() - began_ns)
        turn.calls_per_sample *= len(self._case.kv_lens)
        turn.steps = self._steps_taken() - steps
        turn.recompilations = graphs_compiled() - graphs
        return turn

    def call_uninspected(self, calls: int) -> Done:
        """Call so many times and look at no result; the parent times it."""
        start = time.perf_counter()
        for _ in range(calls):
            next(self._rotation)()
        self._bench.wait()
        return Done(time.perf_counter() - start)

    def _steps_taken(self) -> int:
        return self._attention.steps_taken if isinstance(self._attention, DecodeSteps) else 0

    def replay(self) -> TurnSamples:
        """Take one turn of replays of a CUDA graph of the call, as the series `graph`."""
        replay = capture(self._rotation.first_call(), self._bench.device)
        turn = self._bench.timer(RepeatedCall(replay, self._rotation.inspect_replay)).take()
        (device,) = (samples for samples in turn.series if samples.name == "device")
        return TurnSamples([Samples("graph", device.samples_ns)], 1, turn.retaken)

    def weigh(self) -> WeighResult:
        """Return the bytes that one call allocates and those that the variant keeps."""
        tensors = [tensor for each in self._rotation.sets for tensor in each.by_name().values()]
        call, device = self._rotation.first_call(), self._bench.device
        if device.type == "cuda":
            before = self._bytes_before + self._rotation.result_bytes()
            weight = weigh.weigh_on_cuda(call, before, device)
        else:
            weight = weigh.weigh_on_cpu(call, self._attention, tensors)
        return WeighResult(**vars(weight))

    def name_kernels(self) -> KernelNames:
        """Return the kernels of one profiled call, and the variant's density or choice, if any."""
        is_paged = self._case.layout == "paged"
        choice = self._choice and self._choice(spec_in_pages(self.spec) if is_paged else self.spec)
        return KernelNames(
            kernel_names.attention_kernels(self._rotation.first_call(), self._bench.device),
            self._computed_share(),
            choice,
            self._density is not None,
            thread_pools(),
        )

    def _computed_share(self) -> float | None:
        if self._density is None or self._case.seq_lens or self._case.window:
            return None
        inputs = self._rotation.sets[0].by_name()
        takes = inspect.signature(self._density).parameters  # older bases take no v
        return self._density(
            self.spec,
            *(
                inputs[name]
                for name in ("q", "k", "v", "slopes", "norms")
                if name in takes and name in inputs
            ),
        )

    def _call_on(self, inputs: Inputs) -> CallResults:
        """Do what is timed: call the attention, and with a dout compute gradients."""
        out = self._attention(*inputs.arguments)
        if isinstance(out, tuple):
            return out
        if inputs.dout is None:
            return (out,)
        return (out, *torch.autograd.grad(out, (inputs.q, inputs.k, inputs.v), inputs.dout))


def _slow_down(share: float, call: TimedCall) -> TimedCall:
    return slow_down(call, share) if share else call


def _draw(
    case: Case, device: torch.device, keep_cache: KeepCacheFunction | None, seed: int, stage: str
) -> Inputs:
    inputs = draw(case, seed, stage, device)
    _hand_over(inputs, keep_cache)
    return inputs


def _hand_over(inputs: Inputs, keep_cache: KeepCacheFunction | None) -> None:
    """Let a variant that keeps a cache of its own fill it from these inputs."""
    if keep_cache is not None:
        keep_cache(inputs.k, inputs.v)
