"""The one way C++ is built here: once, for this processor, stored in the user's cache folder."""

import ctypes
import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from variants.compiled.flags import FLAGS
from variants.host.private_files import is_whole, private_folder, store
from variants.host.user_cache import user_cache
from variants.problem import Unsupported

_LOG = logging.getLogger("alibi_bench")


def cpp_compiler(wanted_by: str) -> str:
    """Return the command of the C++ compiler: $CXX, or else g++.

    Raises Unsupported where it is not on the PATH; the text names `wanted_by`.
    """
    compiler = os.environ.get("CXX", "").strip() or "g++"
    try:
        program = shlex.split(compiler)[0]
    except ValueError as error:
        raise Unsupported(f"CXX is {compiler}: {error}; name a C++ compiler") from error
    if shutil.which(program) is None:
        raise Unsupported(
            f"{wanted_by} needs a C++ compiler and {compiler} is not on the PATH: "
            "apt-get install g++"
        )
    return compiler


def build_library(source: Path, flags: Sequence[str] = FLAGS) -> ctypes.CDLL:
    """Return `source`, compiled together with the headers beside it, and loaded.

    A library that the same compiler built from the same text for the same processor is taken from
    the cache, if this user wrote it and its content is whole (variants.host.private_files). Raises
    Unsupported where `source` can't be compiled, stored or loaded.
    """
    command = [*shlex.split(cpp_compiler(source.name)), *flags]
    try:
        folder = private_folder(user_cache(), "kernels")
        library = folder / f"{_digest(command, source)}.so"
        if not is_whole(library):
            _LOG.info("compiling %s once for this processor, which takes seconds", source.name)
            with tempfile.TemporaryDirectory(dir=folder) as unfinished:
                built = Path(unfinished, library.name)
                _run([*command, str(source), "-o", str(built)])
                store(built, library)
        return ctypes.CDLL(str(library))
    except (OSError, RuntimeError) as error:
        raise Unsupported(
            f"{source.name} can't be kept or loaded: {error}; name another XDG_CACHE_HOME"
        ) from error


def _digest(command: list[str], source: Path) -> str:
    """Return a digest of all that determines a library: command, compiler, processor and sources.

    The compiler's output names its version and the processor that it compiles for.
    """
    target = _run([*command, "-E", "-v", "-x", "c++", os.devnull])
    files = sorted(source.parent.rglob("*.[ch]*"))
    text = [target.encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"\0".join([source.name.encode(), *text])).hexdigest()[:32]


def _run(command: list[str]) -> str:
    """Return what a compiler printed. Raises Unsupported where it failed."""
    process = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"LC_ALL": "C"},
        check=False,
    )
    if process.returncode:
        reason = next(
            (line for line in process.stderr.splitlines() if "error" in line), process.stderr
        )
        raise Unsupported(f"{command[0]} refuses: {reason.strip()[:300]}")
    return process.stdout + process.stderr
