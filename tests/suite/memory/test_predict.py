"""Predictions: what would not fit is told before a byte is taken."""

import msgspec
import psutil
import pytest
import torch

from suite.agreement.inputs import draw, spec_of
from suite.agreement.judge import check
from suite.agreement.oracle.portions import check_bytes
from suite.cases.case import Mode
from suite.clocks.timer import Bench
from suite.lanes.prepared_case import PreparedCase, Subject, TooLarge, foresee
from suite.memory.predict import available_bytes, predicted_bytes
from suite.memory.weigh import weigh_on_cpu
from tests.records import a_case
from variants.catalog import BY_NAME
from variants.plain import eager

pytestmark = pytest.mark.usefixtures("one_thread", "small_heap")

CPU = torch.device("cpu")


@pytest.mark.parametrize("length", [128, 300, pytest.param(512, marks=pytest.mark.heavy)])
def test_a_prediction_is_at_least_what_a_call_takes_and_less_than_twice(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.agreement.oracle.portions.check_bytes", lambda _: 0)
    case = a_case(length, "bfloat16")
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    attention = eager.prepare(spec)
    arguments = (inputs.q, inputs.k, inputs.v, inputs.slopes)
    with torch.no_grad():
        taken = weigh_on_cpu(lambda: attention(*arguments), attention, arguments).peak_bytes
    predicted = predicted_bytes(case, "variants.plain.eager", {}, CPU)
    assert predicted is not None
    timed_fresh_and_copies = 5 * 3 * inputs.q.nbytes
    judged_and_held = 3 * inputs.q.nbytes
    more = timed_fresh_and_copies + judged_and_held
    assert taken + more <= predicted <= 2 * (taken + inputs.q.nbytes) + more


@pytest.mark.parametrize("mode", ["forward", "backward"])
def test_a_prediction_leaves_room_for_the_check(mode: Mode) -> None:
    case = a_case(300, "bfloat16", mode)
    spec, inputs = spec_of(case, CPU), draw(case, 0, "before", CPU)
    attention = eager.prepare(spec)
    taken = weigh_on_cpu(
        lambda: check(attention, spec, inputs, answers="alibi", seed=0), attention, ()
    ).peak_bytes
    predicted = predicted_bytes(case, "variants.plain.eager", {}, CPU)
    assert predicted is not None
    assert taken + 2 * 3 * inputs.q.nbytes <= predicted


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("name", ["eager", "sdpa_mask"])
def test_131072_keys_with_every_score_are_skipped_with_both_figures(
    name: str, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.memory.predict.available_bytes", lambda _: 24 * 10**9)
    with pytest.raises(TooLarge, match=r"needs about \d+\.\d GB and 24\.0 GB are free"):
        foresee(
            Subject(BY_NAME[name].module, {}, answers="alibi"),
            a_case(1 << 17, "bfloat16", mode),
            CPU,
        )


def test_a_case_is_skipped_for_the_first_byte_that_is_not_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject, case = Subject("variants.plain.eager", {}, answers="alibi"), a_case(512, "bfloat16")
    needed = foresee(subject, case, CPU).needed_bytes
    assert needed is not None
    monkeypatch.setattr("suite.memory.predict.available_bytes", lambda _: needed)
    assert foresee(subject, case, CPU).free_bytes == needed
    monkeypatch.setattr("suite.memory.predict.available_bytes", lambda _: needed - 1)
    with pytest.raises(TooLarge):
        foresee(subject, case, CPU)


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("name", ["no_bias", "sdpa_key", "sdpa_folded"])
def test_131072_keys_fit_where_no_score_is_kept(
    name: str, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.memory.predict.available_bytes", lambda _: 24 * 10**9)
    found = foresee(
        Subject(BY_NAME[name].module, {}, answers="alibi"), a_case(1 << 17, "bfloat16", mode), CPU
    )
    assert found.needed_bytes is not None
    assert check_bytes(spec_of(a_case(1 << 17, "bfloat16", mode), CPU)) < found.needed_bytes


def test_what_no_machine_has_is_predicted_without_being_taken() -> None:
    before = psutil.Process().memory_info().rss
    predicted = predicted_bytes(a_case(1 << 17, "bfloat16"), "variants.sdpa.sdpa_mask", {}, CPU)
    assert predicted is not None
    assert predicted > 8 * (1 << 34) * 2
    assert psutil.Process().memory_info().rss - before < 200 << 20


def test_linear_variants_are_predicted_to_stay_linear() -> None:
    short = predicted_bytes(a_case(1 << 12, "bfloat16"), "variants.sdpa.sdpa_key", {}, CPU)
    long = predicted_bytes(a_case(1 << 16, "bfloat16"), "variants.sdpa.sdpa_key", {}, CPU)
    assert short is not None
    assert long is not None
    assert long < 20 * short


@pytest.mark.parametrize("options", [{}, {"lengths": "dynamic"}], ids=str)
def test_a_compiled_variant_can_not_be_told_beforehand(options: dict[str, str]) -> None:
    assert (
        predicted_bytes(a_case(64, "bfloat16"), "variants.compiled.compile", options, CPU) is None
    )


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_graph_that_sequences_share_is_not_spoiled_by_the_attempt() -> None:
    sequences = {"batch": 3, "q_len": 30, "kv_len": 30, "seq_lens": (30, 20, 30), "form": "packed"}
    case = msgspec.structs.replace(a_case(30, "bfloat16"), **sequences)
    options = {"lengths": "dynamic"}
    assert predicted_bytes(case, "variants.compiled.compile", options, CPU) is None
    with torch.no_grad():
        ready = PreparedCase(
            Subject("variants.compiled.compile", options, "alibi"), case, 0, Bench(CPU)
        )
        assert ready.check("before", 1).agrees


def test_what_is_available_is_less_than_what_there_is() -> None:
    assert 0 < available_bytes(CPU) < psutil.virtual_memory().total
