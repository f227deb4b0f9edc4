"""The parent's end of a lane: what it reads of the kernel's kills."""

from pathlib import Path

from suite.handle import out_of_memory_kills


def test_kills_for_memory_are_counted_from_the_kernels_own_counter(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 10\noom_kill 3\npgfault 7\n")
    assert out_of_memory_kills(counters) == 3


def test_a_kernel_without_the_counter_counts_none(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 10\n")
    assert out_of_memory_kills(counters) == 0
    assert out_of_memory_kills() >= 0


def test_a_kernel_without_counters_counts_none(tmp_path: Path) -> None:
    assert out_of_memory_kills(tmp_path / "none") == 0
