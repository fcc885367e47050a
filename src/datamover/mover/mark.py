"""The mark of an archive that may be resumed: one small file beside its lock.

    active/<archive id hex>.resume    the highest attempt, in decimal digits

Source: docs/spec/resume.md, section 4.
"""

from __future__ import annotations

import errno
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datamover.errors import FormatError, MediumFullError, StoreError, UnsafeFileError
from datamover.ids import ArchiveId
from datamover.link.durable import PRIVATE, read_file, remove_file, replace_file

__all__ = ["ATTEMPTS_MAX", "KEPT_S", "Mark"]

ATTEMPTS_MAX: Final = 1 << 20
KEPT_S: Final = 7 * 24 * 3600
"""How long what an interrupted run left is kept."""

_NAME: Final = re.compile(r"([0-9a-f]{32})\.resume")
_DIGITS: Final = re.compile(rb"[0-9]{1,7}")
_LONGEST: Final = 20
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of one archive, there or not.

    Attributes:
        folder: The store's ``active/``.
        archive: The archive.
    """

    folder: Path
    archive: ArchiveId

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.folder / f"{self.archive.hex()}.resume"

    @classmethod
    def all(cls, folder: Path) -> list[Mark]:
        """Return the marks that are there.

        Raises:
            OSError: The folder cannot be read.
        """
        names = (_NAME.fullmatch(path.name) for path in folder.iterdir())
        return [cls(folder, ArchiveId(bytes.fromhex(name[1]))) for name in names if name]

    def read(self) -> int | None:
        """Return the highest attempt; None when there is no mark, or what is there is none."""
        try:
            text = read_file(self.path, most=_LONGEST, secret=True)
        except (OSError, FormatError, UnsafeFileError):
            return None
        return int(text) if _DIGITS.fullmatch(text) and int(text) < ATTEMPTS_MAX else None

    def is_young(self) -> bool:
        """Whether it is there and keeps its archive."""
        try:
            age = time.time() - self.path.lstat().st_mtime
        except OSError:
            return False
        return abs(age) < KEPT_S and self.read() is not None

    def write(self, attempt: int) -> None:
        """Set it, durably.

        Raises:
            MediumFullError: No room.
            StoreError: The store refuses.
        """
        try:
            replace_file(self.path, b"%d" % attempt, mode=PRIVATE)
        except OSError as error:
            if error.errno in _FULL:
                raise MediumFullError(where=str(self.folder)) from error
            reason = f"active: {error.strerror}"
            raise StoreError(store=str(self.folder.parent), reason=reason) from error

    def remove(self) -> None:
        """Take it away, durably; one that is not there is fine.

        Raises:
            StoreError: The store refuses.
        """
        try:
            remove_file(self.path)
        except OSError as error:
            reason = f"active: {error.strerror}"
            raise StoreError(store=str(self.folder.parent), reason=reason) from error
