"""Where selections are stored, and how they are read: as data from a stranger.

One JSON file for each hardware key, in the user's folder or in the project's (`COMMITTED`).
"""

import re
import stat
from pathlib import Path

import msgspec

from variants.catalog import ALIBI, NEVER_CHOSEN
from variants.host.user_cache import user_cache
from variants.selection.schema import Selection

LARGEST_BYTES = 8 << 20
COMMITTED = Path(__file__).resolve().parents[2] / "selections"


class BadSelection(Exception):  # noqa: N818 - a state of a file
    """A selection that can't be used; the text says in one line which, why and what to do."""


def user_folder() -> Path:
    """Return the folder of the user's selections, to which `choose` writes.

    Raises BadSelection where the user has no home directory.
    """
    try:
        return user_cache() / "selections"
    except RuntimeError:
        raise BadSelection("no home directory to keep selections in: set XDG_CACHE_HOME") from None


def path_of(folder: Path, hardware_key: str) -> Path:
    """Return the file of a hardware key. Raises BadSelection for a key that can't name a file."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,199}", hardware_key):
        raise BadSelection(f"hardware key {hardware_key[:80]!r}: it can't name a file")
    return folder / f"{hardware_key}.json"


def read(path: Path) -> Selection:
    """Return the selection in a file, which is named after the selection's hardware key.

    Raises BadSelection for a file that can't be read, is over 8 MiB, is no valid selection, has
    a variant that `auto` can't take, or is named after another key.
    """
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
        selection = msgspec.json.decode(content, type=Selection)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(path, f"{str(error)[:200]}; `choose` writes it anew") from None
    for name in {each.variant for choice in selection.choices for each in choice.candidates}:
        if name not in ALIBI or name in NEVER_CHOSEN:
            raise _refusal(path, f"variant {name!r} is none that can be chosen here")
    if selection.hardware.key != path.stem:
        raise _refusal(path, f"it is of {selection.hardware.key[:80]!r}, not of its name's device")
    return selection


def _refusal(path: Path, why: str) -> BadSelection:
    """Return the error for a file; control characters in a stranger's name or text become "?"."""
    line = "".join(char if char.isprintable() else "?" for char in f"{path}: {why}")
    return BadSelection(line)


def folders() -> list[Path]:
    """Return the folders to read selections from, without the user's if it can't be accessed."""
    try:
        user_folder().exists()
    except (OSError, BadSelection):  # no permission, a name too long, or no home
        return [COMMITTED]
    return [user_folder(), COMMITTED]


def is_there(path: Path) -> bool:
    """Whether a path exists, or can't be looked at: then reading it gives the reason."""
    try:
        return path.exists()
    except OSError:
        return True


def selections_for(hardware_key: str) -> tuple[list[Selection], list[str]]:
    """Return all selections in the folders, and a line for each file that was refused.

    Selections of this hardware key come first, and the user's before the project's.
    """
    places = folders()
    device_paths = [path_of(folder, hardware_key) for folder in places]
    all_paths = [path for folder in places for path in sorted(folder.glob("*.json"))]
    selections, refused = [], []
    for path in dict.fromkeys([*device_paths, *all_paths]):
        if is_there(path):
            try:
                selections.append(read(path))
            except BadSelection as error:
                refused.append(" ".join(str(error).split()))
    return selections, refused
