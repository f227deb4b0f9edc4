"""The columns of each table for wide pages, by `--metric`, and the text that each shows."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from reports.tables.row import Row
from suite.cases.case import form_name
from suite.cases.mixed_batch import notation
from suite.recordings.names import layer_name
from variants.catalog import AUTO, BASELINE

Metric = Literal["time", "memory", "error", "start", "clock"]


class Column(NamedTuple):
    """A column: its header, its text for a row, and whether it is a figure (right-aligned)."""

    header: str
    shows: Callable[[Row], str]
    figure: bool = True


def length_of(row: Row) -> str:
    """Return kv_len; "q_len of kv_len" where they differ; a ragged batch's lengths joined by +.

    For a server's batch return what --requests takes.
    """
    if row.q_lens:
        return notation(row.q_lens, row.seq_lens)
    if row.seq_lens:
        return "+".join(map(str, row.seq_lens))
    return str(row.kv_len) if row.q_len == row.kv_len else f"{row.q_len} of {row.kv_len}"


def mode_of(row: Row) -> str:
    """Return the mode, then a ragged batch's form, the window, norms and recorded layer, if any."""
    words = [row.mode]
    words += [form_name(row.form, row.padding, row.q_lens)] if row.seq_lens else []
    words += [f"window {row.window}"] if row.window else []
    words += ["norms"] if row.norms else []
    words += [layer_name(row.recording)] if row.recording else []
    return ", ".join(words)


def three_digits(value: float | None) -> str:
    """Return three significant digits without an exponent; an empty text for None."""
    if value is None:
        return ""
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:#.3g}" if value >= 0.01 else f"{value:.4f}"


def times(ratio: float) -> str:
    """Return a ratio such as 0.49x; under a hundredth its first digit, since 0.00x says nothing."""
    return f"{ratio:.2f}x" if ratio >= 0.01 else f"{ratio:.1g}x"


def half_width(row: Row) -> str:
    """Return half of the interval of a row's time in percent of it; an empty text without one."""
    if row.time_ci_ms is None or row.time_ms is None:
        return ""
    low, high = row.time_ci_ms
    return f"{100 * (high - low) / (2 * row.time_ms):.0f}"


class RankWords(NamedTuple):
    """What stands in place of a rank that is unsure, and behind one."""

    contradictory: str
    too_noisy: str
    tied: str


IN_FULL = RankWords("too noisy to rank", "(too noisy to tell from 1)", "(tied with 1)")


def rank_of_measured(row: Row, words: RankWords) -> str:
    """Return the rank of a measured row, or what it has in place of one."""
    if row.contradictory:
        return words.contradictory
    if row.variant == AUTO.name:
        return f"chose {row.chose or 'in another pass'}"
    if row.rank is None:
        return "baseline"
    if row.too_noisy:
        return f"{row.rank} {words.too_noisy}"
    return f"{row.rank} {words.tied}" if row.tied else str(row.rank)


def _place(row: Row) -> str:
    return rank_of_measured(row, IN_FULL) if row.status == "measured" else row.status


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def _mebibytes(value: int | None) -> str:
    return "" if value is None else f"{value / 2**20:.2f}"


def scientific(value: float | None) -> str:
    """Return two digits and an exponent; an empty text for None."""
    return "" if value is None else f"{value:.1e}"


def percent(share: float | None) -> str:
    """Return a share in percent, with two digits under 10; an empty text for None."""
    return "" if share is None else f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"


def clocks(row: Row) -> str:
    """Return the SM clocks read, in MHz: one, or the lowest and the highest."""
    if row.sm_clock_mhz is None:
        return ""
    low, high = row.sm_clock_mhz
    return str(low) if low == high else f"{low} to {high}"


def share_of_budget(row: Row) -> str:
    """Return a row's error in percent of its budget; an empty text without one."""
    if row.error is None or not row.error_budget:
        return ""
    return f"{100 * row.error / row.error_budget:.0f}"


def break_even(row: Row) -> str:
    """Return the calls after which a slow start has paid; "never" for one that never does."""
    if row.break_even_calls is None:
        return "" if row.rank is None else "never"
    return str(row.break_even_calls)


CELL = (
    Column("length", length_of),
    Column("dtype", lambda row: row.dtype, figure=False),
    Column("mode", mode_of, figure=False),
    Column("variant", lambda row: row.variant, figure=False),
)
TIME = Column("ms", lambda row: three_digits(row.time_ms))
RANK = Column("rank", _place, figure=False)

COLUMNS: dict[Metric, tuple[Column, ...]] = {
    "time": (
        *CELL,
        TIME,
        Column("± %", half_width),
        Column(
            f"vs {BASELINE.name}",
            lambda row: "" if row.vs_no_bias is None else times(row.vs_no_bias),
        ),
        Column("TFLOP/s", lambda row: three_digits(row.tflops)),
        Column("% GEMM", lambda row: percent(row.gemm_share)),
        Column("% copy", lambda row: percent(row.copy_share)),
        Column("error", lambda row: "" if row.error is None else f"{row.error:.0e}"),
        RANK,
    ),
    "memory": (
        *CELL,
        Column("peak MiB", lambda row: _mebibytes(row.peak_bytes)),
        Column("kept MiB", lambda row: _mebibytes(row.persistent_bytes)),
        Column("resident MiB", lambda row: _mebibytes(row.resident_bytes)),
        Column("NVML MiB", lambda row: _mebibytes(row.nvml_bytes)),
        TIME,
        RANK,
    ),
    "error": (
        *CELL,
        Column("error", lambda row: scientific(row.error)),
        Column("budget", lambda row: scientific(row.error_budget)),
        Column("% of budget", share_of_budget),
        RANK,
    ),
    "start": (
        *CELL,
        Column("prepare ms", lambda row: three_digits(_milliseconds(row.prepare_s))),
        Column("first call, cold s", lambda row: three_digits(row.first_call_s)),
        Column("first call, warm s", lambda row: three_digits(row.warm_first_call_s)),
        TIME,
        Column("pays after", break_even),
        RANK,
    ),
    "clock": (
        *CELL,
        TIME,
        Column("is its", lambda row: row.cost or "", figure=False),
        Column("device ms", lambda row: three_digits(row.device_ms)),
        Column("hot L2 ms", lambda row: three_digits(row.device_hot_ms)),
        Column("issue ms", lambda row: three_digits(row.issue_ms)),
        Column("wall ms", lambda row: three_digits(row.wall_ms)),
        Column("graph ms", lambda row: three_digits(row.graph_ms)),
        Column("SM MHz", clocks),
        Column("throttled", lambda row: str(row.throttled) if row.status == "measured" else ""),
        Column("disturbed", lambda row: str(row.disturbed) if row.status == "measured" else ""),
        RANK,
    ),
}

NOTES: dict[Metric, str] = {
    "time": "% GEMM and % copy: useful FLOPs and bytes a second, as shares of a large matrix "
    "product's and a large copy's on this device.",
    "clock": "device: a call's time on the device with a cold L2 cache; issue: the host's time to "
    "queue it; wall: a call that is waited for; graph: its replay. ms is the larger of device and "
    "issue.",
    "memory": "peak: the most that a call allocates; kept: what the variant holds between calls; "
    "resident: how much the process's memory grew in a call.",
    "error": "error: the relative L2 distance from the float64 oracle's answer, in the worst head "
    "or row; budget: the largest error that agrees.",
    "start": "pays after: the calls after which a variant has cost less in all, its start "
    "included, than the one that starts soonest; never, where it is no faster than that one.",
}
