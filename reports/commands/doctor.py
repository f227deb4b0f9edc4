"""`doctor`: the machine, what spoils measurements on it, and which variants run on it."""

import os

import click

from reports.commands.console import show
from reports.commands.options import DEVICE


@click.command()
@DEVICE
@click.option("--deep", is_flag=True, help="Try variants that wait for a compiler too: minutes.")
def doctor(device: str | None, deep: bool) -> None:
    """Say what this machine has, what spoils measurements, and which variants run.

    Every variant that compiles nothing is tried once on a tiny case. That takes at most 15 seconds;
    what was not tried by then is said to be skipped. --deep tries all, and takes its time. Exits 0
    when at least one ALiBi variant runs.

    \b
    Example:
      python run_bench.py doctor
      python run_bench.py doctor --deep
    """
    from reports.pages import doctor as page
    from suite.conditions import health, nvml
    from suite.conditions.device import device_for
    from suite.conditions.policy import circumstances, policy
    from suite.failures import RunFailed
    from suite.probe.probe import probe
    from variants.catalog import ALIBI, CATALOG
    from variants.host.software import software

    used = device_for(device)
    hardware = used.hardware
    state = nvml.gpu_state(used.uuid)
    show(page.machine_lines(hardware, software(), circumstances({}), state))
    show(f"\n{page.troubles(health.troubles(hardware, os.environ, state))}\n")
    rules = policy(used.kind, hardware.cores)
    results = probe(
        CATALOG, rules, used.name, deep=deep, report=lambda line: click.echo(line, err=True)
    )
    show(page.variants(results))
    if not any(result.status == "measured" and result.variant in ALIBI for result in results):
        raise RunFailed("no ALiBi variant was seen to run here; the report above says why")
