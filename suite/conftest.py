"""The options of `pytest suite`, and the hardware in pytest-benchmark's records."""

from typing import Any

import msgspec
import pytest

from suite.cases.sweeps import SWEEPS
from suite.conditions.device import Device, NoDevice, device_for
from variants.host.software import software


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that select races: sweep, device and passes."""
    group = parser.getgroup("alibi", "ALiBi attention races")
    group.addoption(
        "--alibi-sweep",
        choices=sorted(SWEEPS),
        help="The sweep whose cases become items; without it the device's default.",
    )
    group.addoption(
        "--alibi-device", help="cpu, cuda or cuda:1; without it a GPU where there is one."
    )
    group.addoption(
        "--alibi-kernel",
        action="append",
        default=[],
        help="A kernel of your own, such as ./my_kernel.py; may be given several times.",
    )
    group.addoption(
        "--alibi-peers", action="store_true", help="Other projects' kernels for the device too."
    )
    group.addoption(
        "--alibi-passes", type=int, default=1, help="Passes whose samples an item gets."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Save runs in a folder for each hardware, unless the user names a storage.

    Raises UsageError for a device or a number of passes that can't be raced.
    """
    device = _device(config)
    if config.getoption("alibi_passes", 1) < 1:
        passes = config.getoption("alibi_passes")
        raise pytest.UsageError(f"--alibi-passes {passes}: give at least 1")
    if config.getoption("benchmark_storage", None) == "file://./.benchmarks":
        config.option.benchmark_storage = f"file://./.benchmarks/{device.hardware.key}"


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: Any) -> None:
    """Add hardware and software, as a results file has them."""
    machine_info["alibi_hardware"] = msgspec.json.decode(
        msgspec.json.encode(_device(config).hardware)
    )
    machine_info["alibi_software"] = software()


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_compare_machine_info(
    benchmarksession: Any, machine_info: Any, compared_benchmark: Any
) -> None:
    """Warn only if a comparison is across hardware or software.

    The check of pytest-benchmark comes next, and warns of any difference, even of the CPU's current
    clock. So the saved machine is replaced by this one, and that check sees no difference.
    """
    saved = compared_benchmark["machine_info"]
    for name in ("alibi_hardware", "alibi_software"):
        if saved.get(name) != machine_info[name]:
            benchmarksession.logger.warning(
                f"compared across {name.removeprefix('alibi_')}: "
                f"saved {saved.get(name)}, now {machine_info[name]}"
            )
    compared_benchmark["machine_info"] = machine_info


def _device(config: pytest.Config) -> Device:
    name = config.getoption("alibi_device", None)
    try:
        return device_for(name)
    except NoDevice as error:
        raise pytest.UsageError(str(error).replace("--device", "--alibi-device")) from None
