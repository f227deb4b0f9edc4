"""Which of several equal devices this is: a mark that tells units of one hardware key apart."""

import hashlib
import platform
from pathlib import Path


def unit(uuid: str | None, machine_id: Path = Path("/etc/machine-id")) -> str:
    """Return eight digits made from the machine's name and id, and from a GPU's UUID.

    They name no machine to a reader, stay the same from run to run, and differ between machines and
    between the GPUs of one.
    """
    identity = machine_id.read_text() if machine_id.exists() else ""
    words = f"{platform.node()} {identity.strip()} {uuid or ''}"
    return hashlib.blake2b(words.encode(), digest_size=4).hexdigest()
