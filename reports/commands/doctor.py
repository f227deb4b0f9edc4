"""`list`, `doctor`, `atlas`: what can be named, what runs here, which ALiBi each computes."""

import os
from pathlib import Path

import click

from reports.commands.console import show
from reports.commands.options import DEVICE

KINDS = ("variants", "models", "sweeps")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
def list_(kind: str) -> None:
    """Show what can be named: variants, models or sweeps.

    \b
    Example:
      python run_bench.py list variants
    """
    from reports.pages import listing
    from reports.text.screen import screen

    lists = {"variants": listing.variants, "models": listing.models, "sweeps": listing.sweeps}
    show(lists[kind](screen()))


@click.command()
@DEVICE
@click.option("--deep", is_flag=True, help="Try variants that wait for a compiler too: minutes.")
def doctor(device: str | None, deep: bool) -> None:
    """Say what this machine has, what spoils figures, what runs here.

    Every variant that compiles nothing is tried once on a tiny case. That takes at most 15 seconds;
    what was not tried by then is said to be skipped. --deep tries all, and takes its time. Exits 0
    when at least one ALiBi variant runs.

    \b
    Example:
      python run_bench.py doctor
      python run_bench.py doctor --deep
    """
    from reports.pages import doctor as page
    from reports.text.screen import screen
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
    output = screen()
    show(page.machine_lines(hardware, software(), circumstances({}), state, output))
    show(f"\n{page.troubles(health.troubles(hardware, os.environ, state), output)}\n")
    rules = policy(used.kind, hardware.cores)
    results = probe(CATALOG, rules, used, deep=deep, report=lambda line: click.echo(line, err=True))
    show(page.variants(results, output))
    if not any(result.status == "measured" and result.variant in ALIBI for result in results):
        raise RunFailed("no ALiBi variant was seen to run here; the report above says why")


@click.command()
@click.option("--variants", help="Which to ask, comma-separated; default: ours and all peers.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="The page to write; default: ./atlas.md, or docs/atlas.md if all of a checkout is asked.",
)
def atlas(variants: str | None, out: Path | None) -> None:
    """Ask every implementation which ALiBi it computes; write a page.

    Each is called in a process of its own, on the CPU, with inputs whose outputs show the bias: its
    sign, slopes, scale, alignment, bidirectional form, gradients, and how exact it is at 1024 to
    65536 keys. A peer that isn't installed is left out. Takes minutes, most for what compiles.

    \b
    Example:
      python run_bench.py atlas
      python run_bench.py atlas --variants sdpa_key,vllm_cpu,bloom --out atlas.md
    """
    from reports.pages.atlas import page
    from reports.pages.atlas_traps import traps
    from reports.text.paragraph import paragraph
    from reports.text.screen import screen
    from suite.atlas.processes import ask_all, implementations
    from suite.conditions.device import device_for
    from suite.conditions.policy import ROOT
    from suite.failures import RunFailed
    from variants.host.installation import IS_INSTALLED
    from variants.host.software import peer_versions, software

    wanted = implementations(variants)
    is_whole = variants is None and not IS_INSTALLED
    path = out or (ROOT / "docs" / "atlas.md" if is_whole else Path("atlas.md"))
    if path.is_dir() or not path.parent.is_dir():
        raise click.UsageError(f"--out {path}: name a file in a folder that is there")
    hardware = device_for("cpu").hardware
    findings = list(ask_all(wanted, hardware.cores, lambda line: click.echo(line, err=True)))
    if not any(each.sign for each in findings):
        raise RunFailed(f"nobody answered: {findings[0].variant} {findings[0].ended}")
    versions = software() | peer_versions([each.variant for each in findings])
    path.write_text(page(findings, versions, hardware.name))
    width = screen().width
    found = traps(findings)
    counts = f"{len(found)} trap{'s' * (len(found) != 1)} in {len(findings)} implementations"
    lines = [*(line.replace("**", "") for line in found), f"{counts}: {path}"]
    show("\n".join(paragraph(line, width, "  ") for line in lines))
