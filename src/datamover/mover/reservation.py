"""Who is writing which archive: one locked file a run, which the kernel unlocks when it dies.

    active/<archive id hex>.lock    held with flock from before the archive's first byte until
                                    after its last; the file goes when the run ends

A lock file without a lock is what a dead run left.

Source: docs/spec/store.md, "active"; DESIGN D12; docs/ARCHITECTURE.md, "Invariants".
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from datamover.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from datamover.ids import ArchiveId

__all__ = ["Reservation"]


class Reservation:
    """The right to write, or to clean up, one archive; a context manager.

    Attributes:
        archive: The archive it is for.
    """

    def __init__(self, path: Path, archive: ArchiveId, descriptor: int) -> None:
        self.archive = archive
        self._path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, folder: Path, archive: ArchiveId) -> Self | None:
        """Reserve ``archive``; None when a live process has it.

        Raises:
            StoreError: ``folder`` refuses.

        Blocking: never.
        """
        path = folder / f"{archive.hex()}.lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            while True:
                descriptor = os.open(path, flags, 0o600)
                if not _lock(descriptor):
                    os.close(descriptor)
                    return None
                if _is(path, descriptor):
                    return cls(path, archive, descriptor)
                # Its last holder removed it between our open and our lock: that file is nobody's.
                os.close(descriptor)
        except OSError as error:
            raise StoreError(
                store=str(folder.parent), reason=f"active: {error.strerror}"
            ) from error

    def release(self) -> None:
        """Give it up; again is harmless."""
        if self._descriptor is not None:
            # Removed while it is locked: whoever comes later makes a new file, never shares ours.
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.release()


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(path: Path, descriptor: int) -> bool:
    """Whether ``path`` still names the file that is open."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
