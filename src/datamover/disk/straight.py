"""Straight paths: absolute ones, on which no link is followed.

    /srv/data/x      as the system opens it: each component may be a link
    /./srv/data/x    straight: from the root down by descriptors, a component at a time, and a link
                     on the way, or at its end, is an error

A straight path is the same file to the system, so code that joins or splits it may be unaware;
what opens a folder or file that a setting names does so here.  A path that was resolved and then
permitted is made straight: a link that is put there afterwards leads nowhere.

Source: docs/spec/trust.md, section 8; DESIGN D14; openat(2), O_NOFOLLOW, O_PATH.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final, overload

__all__ = ["make_straight", "open_file", "open_folder", "shown", "status_of"]

_MARK: Final = b"/."
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ON_THE_WAY: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""PATH: a folder on the way need not be readable, as for the system's own lookup."""


def make_straight(path: str) -> str:
    """Return an absolute path as a straight one; the root is one as it is.

    Raises:
        ValueError: It is relative.
    """
    if not path.startswith("/"):
        raise ValueError(path)
    below = path.strip("/")
    return f"/./{below}" if below else "/"


@overload
def shown(path: str) -> str: ...
@overload
def shown(path: bytes) -> bytes: ...
def shown(path: str | bytes) -> str | bytes:
    """Return a path as people and patterns know it, straight or not."""
    raw = os.fsencode(path)
    if _is_straight(raw):
        raw = raw[len(_MARK) :] or b"/"
    return raw if isinstance(path, bytes) else os.fsdecode(raw)


def open_folder(path: str | bytes, *, make: bool = False) -> int:
    """Open a folder for reading; the descriptor is the caller's.

    Args:
        path: Straight, or any that the system knows.
        make: Make it, and the folders on the way, where they are missing.

    Raises:
        OSError: It is missing, no folder, or refuses; or a link is on a straight path.

    Blocking: for the file system.
    """
    raw = os.fsencode(path)
    if not _is_straight(raw):
        if make:
            os.makedirs(raw, exist_ok=True)  # noqa: PTH103 - bytes
        return os.open(raw, _FOLDER)
    above, name = _parent_of(raw, make=make)
    try:
        return _enter(above, name, _FOLDER | os.O_NOFOLLOW, make=make)
    finally:
        os.close(above)


def open_file(path: str | bytes, flags: int, mode: int = 0o600) -> int:
    """Open a file as ``os.open`` does; the descriptor is the caller's.

    Raises:
        OSError: The system refuses, or a link is on a straight path.

    Blocking: for the file system.
    """
    raw = os.fsencode(path)
    if not _is_straight(raw):
        return os.open(raw, flags, mode)
    above, name = _parent_of(raw)
    try:
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=above)
    finally:
        os.close(above)


def status_of(path: str | bytes) -> os.stat_result | None:
    """Say what has this name, be it a link; None where nothing has.

    Raises:
        OSError: The system refuses, or a link is on the way of a straight path.

    Blocking: for the file system.
    """
    raw = os.fsencode(path)
    try:
        if not _is_straight(raw):
            return os.lstat(raw)
        above, name = _parent_of(raw)
        try:
            return os.stat(name, dir_fd=above, follow_symlinks=False)
        finally:
            os.close(above)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_straight(path: bytes) -> bool:
    return path == _MARK or path.startswith(_MARK + b"/")


def _parent_of(path: bytes, *, make: bool = False) -> tuple[int, bytes]:
    """Go down to the folder that a straight path ends in; return it, and the last name."""
    *above, name = [one for one in path.split(b"/") if one not in (b"", b".")] or [b"."]
    if b".." in (*above, name):
        raise OSError(errno.EINVAL, "a straight path has no ..")
    at = os.open(b"/", _ON_THE_WAY)
    for one in above:
        try:
            below = _enter(at, one, _ON_THE_WAY, make=make)
        finally:
            os.close(at)
        at = below
    return at, name


def _enter(at: int, name: bytes, flags: int, *, make: bool) -> int:
    try:
        return os.open(name, flags, dir_fd=at)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=at)
    return os.open(name, flags, dir_fd=at)
