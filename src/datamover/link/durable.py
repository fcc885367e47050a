"""Files that a crash leaves either as they were or as they shall be, and secrets kept to us.

Source: docs/spec/trust.md, section 3.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from datamover.errors import MalformedError, UnsafeFileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["PRIVATE", "PUBLIC", "make_folder", "read_file", "remove_file", "replace_file"]

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def make_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Make a folder, and those above it, where they are missing; durable in its parent."""
    if not folder.is_dir():
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        _sync(folder.parent)


def replace_file(path: Path, data: bytes, *, mode: int) -> None:
    """Put ``data`` in the place of the file; durable when this returns.

    Raises:
        OSError: The system refuses; the old file is as it was.
    """
    aside = path.with_name(f".{path.name}.{token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(aside, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask says
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
    _sync(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file, durably; one that is not there is fine."""
    path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        _sync(path.parent)


def read_file(path: Path, *, most: int, secret: bool) -> bytes:
    """Return what is in a file.

    Args:
        path: The file.
        most: Bytes that it may have.
        secret: It must be a plain file that only its owner can read: this user, or root.

    Raises:
        UnsafeFileError: It holds secrets and is open to others.
        MalformedError: It is longer than ``most``.
        OSError: It is missing or cannot be read.
    """
    with open(path, "rb", opener=_opener(secret=secret)) as file:
        if secret:
            _check(path, os.fstat(file.fileno()))
        data = file.read(most + 1)
    if len(data) > most:
        raise MalformedError(what=str(path), reason=f"longer than {most} bytes")
    return data


def _opener(*, secret: bool) -> Callable[[str, int], int]:
    # Nothing of ours is a link or a pipe; one that waits for a writer must not hang us.
    extra = os.O_NONBLOCK | (os.O_NOFOLLOW if secret else 0)

    def opener(path: str, flags: int) -> int:
        return os.open(path, flags | extra | os.O_CLOEXEC)

    return opener


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFileError(path=str(path), reason="not a plain file")
    if found.st_uid not in (0, os.geteuid()):
        raise UnsafeFileError(path=str(path), reason=f"belongs to user {found.st_uid}")
    if found.st_mode & _OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        raise UnsafeFileError(path=str(path), reason=f"open to others (mode {mode:04o})")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
