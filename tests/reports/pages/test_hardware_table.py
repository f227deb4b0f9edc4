"""One table across hardware: the fastest of each case on each device, and what letters mean."""

from reports.pages.hardware_table import hardware_table
from tests.records import a_case, a_machine, a_plan, a_run, results

FAST = a_machine(a_plan(passes=3), key="cuda-invented-h100")
SLOW = a_machine(a_plan(passes=3), key="cpu-invented-2cores")


def test_each_device_has_a_line_with_its_fastest_variant() -> None:
    fast = a_run({"no_bias": [2.0] * 3, "eager": [1.0, 1.1, 0.9], "flex": [1.5] * 3}, header=FAST)
    slow = a_run({"no_bias": [40.0] * 3, "eager": [50.0] * 3, "flex": [30.0] * 3}, header=SLOW)
    heading, _, first, second, _, *legend = hardware_table([fast, slow], 80).splitlines()
    assert heading.split() == ["case", "on", "fastest", "ms", "±", "%", "vs", "no_bias"]
    assert first.split() == ["n512-h8-d64-float32", "A", "eager", "0.997", "25", "0.50x"]
    assert second.split() == ["n512-h8-d64-float32", "B", "flex", "30", "0", "0.75x"]
    assert legend == ["A: cuda-invented-h100", "B: cpu-invented-2cores"]


def test_a_case_without_a_ranked_variant_says_why() -> None:
    unmeasured = results(a_machine(a_plan(a_case())))
    line = hardware_table([unmeasured], 80).splitlines()[2]
    assert line.split() == ["n512-h8-d64-float32", "A", "skipped"]


def test_it_fits_the_width() -> None:
    fast = a_run({"no_bias": [2.0] * 3, "eager": [1.0] * 3}, header=FAST)
    assert max(map(len, hardware_table([fast] * 3, 80).splitlines())) <= 80
