"""A row of every table: one cell with all its figures; its fields are `table --format json`'s."""

import msgspec

from suite.records.record import Status

NOT_YET = "not measured yet: run --resume completes the file"
NO_CHECK = "its times stand in the file and no check of its answers does"


class Row(msgspec.Struct, kw_only=True):
    """One cell. A figure that doesn't exist is None; units are in the fields' names.

    - `code` is the commit that measured, or the commits of a baseline that several raced against.
    - `unit` marks the device, or devices, that measured among those of the hardware key.
    - `rank` counts a case's agreeing ALiBi variants from the fastest by `vs_no_bias`, or by
      `time_ms` where there is no baseline. `tied`: the interval of the paired ratio to the fastest
      includes 1. `too_noisy`: that interval also reaches above `rank.TIE_REACHES`, so that the tie
      means little.
    - `contradictory`: `time_ms` over the baseline's and `vs_no_bias` differ by more than a factor
      of `rank.CONTRADICTION`, so that neither is to be trusted. Such a row has no rank.
    - `time_ms` is the series that `cost` names. `device_ms` to `graph_ms` are all series; the CPU
      has `cost`'s alone. `pass_ms` has the median of each pass, and `time_ms` is their mean.
    - `throttled` and `disturbed` count repeated turns. `sm_clock_mhz` is the lowest and highest
      SM clock read.
    - `gemm_share` and `copy_share` are useful FLOPs and bytes a second over those of a large matrix
      product and a large copy, measured on the same device.
    - `first_call_s` is the first call with an empty compile cache, `warm_first_call_s` the first
      call of a later process with a filled one.
    - In decode a call is one of `steps`. `recompilations` counts the graphs compiled during timing.
    - `density` is the share of unmasked query-key pairs that a variant with certified windows
      looks at. It depends on the data.
    - `thread_pools` are the BLAS and OpenMP runtimes that the variant's process had loaded.
    - `chose` is the variant that `auto` picked. `auto` has no rank, because that variant has it.
    - `break_even_calls`: after so many calls, start included, the variant has cost less in all than
      the variant that starts soonest. None where it never does.
    """

    hardware_key: str
    software: str
    code: str
    case: str
    batch: int
    heads: int
    kv_heads: int
    q_len: int
    kv_len: int
    head_dim: int
    dtype: str
    mode: str
    causal: bool
    layout: str
    logit_scale: float
    seq_lens: tuple[int, ...]
    q_lens: tuple[int, ...]
    form: str
    padding: str
    window: int
    norms: bool
    recording: str
    bias_max: float
    slope_scale: str
    scale: str
    useful_bytes: int
    variant: str
    answers: str
    status: Status
    reason: str | None = None
    time_ms: float | None = None
    time_ci_ms: tuple[float, float] | None = None
    pass_ms: tuple[float, ...] = ()
    samples: int = 0
    passes: int = 0
    vs_no_bias: float | None = None
    vs_no_bias_ci: tuple[float, float] | None = None
    rank: int | None = None
    tied: bool = False
    too_noisy: bool = False
    contradictory: bool = False
    tflops: float | None = None
    gemm_share: float | None = None
    copy_share: float | None = None
    cost: str | None = None
    device_ms: float | None = None
    device_hot_ms: float | None = None
    issue_ms: float | None = None
    wall_ms: float | None = None
    graph_ms: float | None = None
    throttled: int = 0
    disturbed: int = 0
    sm_clock_mhz: tuple[int, int] | None = None
    steps: int = 0
    recompilations: int = 0
    prepare_s: float | None = None
    first_call_s: float | None = None
    warm_first_call_s: float | None = None
    break_even_calls: int | None = None
    peak_bytes: int | None = None
    persistent_bytes: int | None = None
    resident_bytes: int | None = None
    nvml_bytes: int | None = None
    error: float | None = None
    error_budget: float | None = None
    kernels: tuple[str, ...] = ()
    density: float | None = None
    thread_pools: tuple[str, ...] = ()
    chose: str | None = None
    unit: str = ""
