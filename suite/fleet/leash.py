"""Runs a program that is told to stop when its parent ends, however that ends.

    python leash.py PARENT PROGRAM WORDS...

PARENT is the id of the parent process. The program gets SIGTERM, at which a run ends cleanly. This
file is run by its path and imports nothing of ours.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: str, *command: str) -> None:
    """Tie this process to its parent, and become the program."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
