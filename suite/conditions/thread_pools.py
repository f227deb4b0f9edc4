"""The BLAS and OpenMP runtimes that a process has loaded; two OpenMPs may disturb each other."""

from pathlib import Path


def thread_pools() -> tuple[str, ...]:
    """Return the thread pools of this process, such as "openmp:libgomp".

    Without threadpoolctl there are none. A BLAS that is linked into a library, as MKL is into
    torch, can't be seen.
    """
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return ()
    return tuple(
        sorted(
            ":".join(filter(None, (pool["user_api"], _name(pool["filepath"]), pool["version"])))
            for pool in threadpool_info()
        )
    )


def _name(library: str) -> str:
    """Return a library's name without its folder and suffixes."""
    return Path(library).name.partition(".")[0]
