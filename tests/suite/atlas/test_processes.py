"""Implementations are asked in processes that end when whoever asks is interrupted."""

import os
import signal
import sys
import time
from pathlib import Path
from threading import Timer

import psutil
import pytest

from suite.atlas import processes

HANG_S = 20


def test_an_interrupt_ends_all_at_once_and_starts_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    hang = f"open({str(begun)!r}, 'a').write('.'); import time; time.sleep({HANG_S})"
    monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-c", hang))
    monkeypatch.setattr(processes, "LIMIT_S", 2.0 * HANG_S)
    # The command line makes an interrupt of SIGTERM too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(processes.ask_all([("eager", "raced")] * 3, 2, lambda _: None))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - start < HANG_S / 2
    assert begun.read_text() in {".", ".."}  # how many of the two had come so far
    assert not any("time.sleep" in " ".join(each.cmdline()) for each in psutil.Process().children())
