"""Where a machine keeps what it is (configuration), what it does (state) and runs (sockets).

Source: docs/spec/trust.md, section 3; the XDG Base Directory Specification.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from datamover.errors import UnsafeFileError

__all__ = ["configuration_folder", "runtime_folder", "state_folder"]

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def configuration_folder() -> Path:
    """Return the folder of identity, authority and peers; it may not exist yet."""
    if given := os.environ.get("DATAMOVER_CONFIG"):
        return Path(given).absolute()
    if os.geteuid() == 0:
        return Path("/etc/datamover")
    base = os.environ.get("XDG_CONFIG_HOME", "")
    # A relative one must be ignored, says the XDG specification.
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "datamover"


def state_folder() -> Path:
    """Return the folder of what outlives a run, such as the journals of backups; it may be missing.

    Raises:
        RuntimeError: The user has no home.
    """
    if given := os.environ.get("DATAMOVER_STATE"):
        return Path(given).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/datamover")
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local/state") / "datamover"


def runtime_folder() -> Path:
    """Return the folder of sockets and doors; it is made, for this user alone, when missing.

    Raises:
        UnsafeFileError: What is there is no folder, another user's, or open to others.
        OSError: It cannot be made.
    """
    if given := os.environ.get("DATAMOVER_RUNTIME"):
        return _ours(Path(given).absolute(), _OTHERS_WRITE)
    if os.geteuid() == 0:
        return _ours(Path("/run/datamover"), _OTHERS_WRITE)
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/"):
        return _ours(Path(base, "datamover"), _OTHERS_WRITE)
    # Anybody may have made this name first.
    return _ours(Path(f"/tmp/datamover-{os.geteuid()}"), _OTHERS)  # noqa: S108 - checked


def _ours(folder: Path, forbidden: int) -> Path:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeFileError(path=str(folder), reason="not a folder")
    if found.st_uid != os.geteuid():
        raise UnsafeFileError(path=str(folder), reason=f"belongs to user {found.st_uid}")
    if found.st_mode & forbidden:
        mode = stat.S_IMODE(found.st_mode)
        raise UnsafeFileError(path=str(folder), reason=f"open to others (mode {mode:04o})")
    return folder
