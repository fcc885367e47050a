"""Where doors are: the names of the sockets that data paths are handed over at.

Who only names a door, or takes a dead one away, needs nothing of what happens behind it.

Source: docs/spec/link-protocol.md, 2.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

__all__ = ["UNFINISHED", "door_path", "remove_door"]

UNFINISHED: Final = ".new"
"""Behind the name of a door that cannot be knocked at yet."""


def door_path(runtime: str, token: bytes) -> str:
    """Return where the door of a border is."""
    return str(Path(runtime) / f"door-{token.hex()}")


def remove_door(path: str) -> None:
    """Take away what a network task left that was killed; nothing happens when it left nothing.

    Only when that task is known to be no more: nobody knocks at its door again.
    """
    for name in (path, f"{path}{UNFINISHED}"):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.lstat(name).st_mode):
                os.unlink(name)  # noqa: PTH108 - a plain path
