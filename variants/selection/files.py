"""TODO."""

import re
import stat
from pathlib import Path

import msgspec

from variants.host.user_cache import user_cache
from variants.selection.schema import Selection

LARGEST_BYTES = 8 << 20


COMMITTED = Path(__file__).resolve().parents[2] / "selections"


class BadSelection(Exception):  # noqa: N818 - what is the matter with a file
    """A selection that can't be used; the text says which, why and what to do, in one line."""


def user_folder() -> Path:
    """Return the folder of the user's own selections, which `choose` writes.

    Raises BadSelection where there is none.
    """
    try:
        return user_cache() / "selections"
    except RuntimeError:
        raise BadSelection("no home directory to keep selections in: set XDG_CACHE_HOME") from None


def path_of(folder: Path, hardware_key: str) -> Path:
    """Return the file of a hardware key. Raises BadSelection for a key that is no name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,199}", hardware_key):
        raise BadSelection(f"hardware key {hardware_key[:80]!r}: it can't name a file")
    return folder / f"{hardware_key}.json"


def read(path: Path) -> Selection:
    """Read the selection of the hardware key that is the file's name. Raises BadSelection."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _refusal(path, "not a regular file")
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise _refusal(path, error.strerror or str(error)) from None
    if len(content) > LARGEST_BYTES:
        raise _refusal(path, f"over {LARGEST_BYTES >> 20} MiB, no selection is so large")
    try:
        found = msgspec.json.decode(content, type=Selection)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(path, f"{str(error)[:200]}; `choose` writes it anew") from None
    if found.hardware.key != path.stem:
        raise _refusal(path, f"it is of {found.hardware.key[:80]!r}, not of its name's device")
    return found


def _refusal(path: Path, why: str) -> BadSelection:
    """Return the refusal of a file, whose name and words may be a stranger's."""
    told = "".join(each if each.isprintable() else "?" for each in f"{path}: {why}")
    return BadSelection(told)


def folders() -> list[Path]:
    """Return where selections are looked for; a cache that can't be looked into has none."""
    try:
        user_folder().exists()
    except (OSError, BadSelection):  # no permission, a name too long, or no home
        return [COMMITTED]
    return [user_folder(), COMMITTED]


def is_there(path: Path) -> bool:
    """Whether there is a file, or something that can't be looked at; reading that says why."""
    try:
        return path.exists()
    except OSError:
        return True


def selections_for(hardware_key: str) -> tuple[list[Selection], list[str]]:
    """Return all selections here, and a line for each that was refused.

    The device's own come first, and the user's before those that come with the project.
    """
    places = folders()
    own = [path_of(folder, hardware_key) for folder in places]
    others = [path for folder in places for path in sorted(folder.glob("*.json"))]
    selections, refused = [], []
    for path in dict.fromkeys([*own, *others]):
        if is_there(path):
            try:
                selections.append(read(path))
            except BadSelection as error:
                refused.append(" ".join(str(error).split()))
    return selections, refused
