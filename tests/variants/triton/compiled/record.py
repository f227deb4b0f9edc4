"""Write recorded.json, and the table of docs/kernel.md, from what the kernels are compiled to.

.venv-triton/bin/python -m tests.variants.triton.compiled.record
"""

from pathlib import Path

import msgspec
from tabulate import tabulate

from tests.variants.triton.compiled.ahead_of_time import Loop, MachineCode
from tests.variants.triton.compiled.configurations import CONFIGURATIONS, Configuration

RECORD = Path(__file__).with_name("recorded.json")
PAGE = Path(__file__).parents[4] / "docs" / "kernel.md"
_BEGIN, _END = "<!-- compiled -->\n", "<!-- end -->"


def table(codes: dict[str, MachineCode]) -> str:
    """Return the table of docs/kernel.md."""
    rows = [_row(each, codes[each.id]) for each in CONFIGURATIONS]
    headers = (
        *("kernel", "chip", "head_dim", "dtype", "rows x keys, warps, stages", "registers"),
        *("shared KiB", "spills", "instructions a tile"),
    )
    return tabulate(rows, headers, "github", disable_numparse=True)


def _row(each: Configuration, code: MachineCode) -> tuple[str, ...]:
    tiles = each.tiles
    return (
        _name(each),
        f"sm_{each.chip}",
        str(each.head_dim),
        each.dtype,
        f"{tiles.rows} x {tiles.keys}, {tiles.warps}, {tiles.stages}",
        str(code.registers),
        f"{code.shared_bytes / 1024:.0f}",
        str(code.spills),
        ", ".join(str(loop.instructions) for loop in whole_loops(each, code)),
    )


def whole_loops(each: Configuration, code: MachineCode) -> list[Loop]:
    """Return a side's loops without a mask, the one with a fixed maximum first."""
    return code.shortest_loops(each.whole_loops)[:: each.sides]


def _name(each: Configuration) -> str:
    form = "" if each.form == "causal" else f", {each.form}"
    return each.kernel.replace("_", " ") + form


def page_with(text: str, codes: dict[str, MachineCode]) -> str:
    """Return the page with the table in its place."""
    before, _, rest = text.partition(_BEGIN)
    return f"{before}{_BEGIN}\n{table(codes)}\n\n{_END}{rest.partition(_END)[2]}"


def read_record() -> dict[str, MachineCode]:
    """Return what recorded.json holds, by the id of a configuration."""
    return msgspec.json.decode(RECORD.read_bytes(), type=dict[str, MachineCode])


def main() -> None:
    """Compile everything and write both files."""
    codes = {}
    for each in CONFIGURATIONS:
        codes[each.id] = each.compile()
        print(each.id, codes[each.id].registers, codes[each.id].main_loop, flush=True)
    RECORD.write_bytes(msgspec.json.format(msgspec.json.encode(codes), indent=1) + b"\n")
    PAGE.write_text(page_with(PAGE.read_text(), codes))


if __name__ == "__main__":
    main()
