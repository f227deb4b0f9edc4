"""The command `alibi-bench`, which is `python -m alibi_bench` and a checkout's run_bench.py too."""

import sys

from variants.host.installation import remedy


def main() -> None:
    """Run the command line. Without its packages it says in a line what installs them, and exits 2.

    The other exit codes are those of reports.commands.command_line.
    """
    try:
        from reports.commands import command_line
    except ImportError as error:
        sys.stderr.write(f"Error: {error}: {remedy()}\n")
        raise SystemExit(2) from None
    command_line.main()


if __name__ == "__main__":
    main()
