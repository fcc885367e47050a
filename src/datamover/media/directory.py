"""A folder of a file system as a medium.

    chunks/   whole chunks, each under its name
    label     whose they are, unless that stands in the store's own description beside it
    tmp/      chunks that are being written; the writer holds a lock on its file

A chunk is written in ``tmp/``, fsynced, moved, and the folder fsynced.  A file in ``tmp/`` that
nobody has locked lost its writer, and the next one removes it.

Source: docs/spec/media-format.md, "Folders"; SPEC F9, F16; DESIGN D13, D14; ADR 0009.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from datamover.disk.direct import DirectFile
from datamover.disk.staging import Staging
from datamover.disk.straight import open_folder, shown
from datamover.errors import ChunkMissingError, MediumFullError, StoreError
from datamover.media.label import LABEL_MAX, VolumeLabel
from datamover.media.medium import Traits
from datamover.media.naming import require_name
from datamover.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from datamover.media.label import Owner

__all__ = ["CHUNKS", "LABEL", "TEMPORARY", "DirectoryMedium", "DirectoryReader", "DirectoryWriter"]

CHUNKS: Final = "chunks"
LABEL: Final = "label"
TEMPORARY: Final = "tmp"

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_CANNOT_LINK: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A FIFO put in place of a chunk must not hang whoever opens it, nor a link lead out.
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class DirectoryMedium:
    """Chunks as files; use it as a context manager, or ``close`` it."""

    def __init__(self, path: str | os.PathLike[str], owner: Owner | None = None) -> None:
        """Name the folder; nothing is opened or made before it is needed.

        Args:
            path: The folder.
            owner: Whose chunks it holds, if it is to be labelled so.
        """
        self._path = os.fspath(path)
        self._owner = owner
        self._where = shown(self._path)
        self._folders: dict[str, int] = {}
        self._staging = Staging()

    @property
    def traits(self) -> Traits:
        """A disk: random access, rewritable."""
        return Traits(sequential=False, rewritable=True, block=Bytes(1))

    def create(self, name: str) -> DirectoryWriter:
        """Start a chunk; see ``Medium.create``."""
        require_name(name)
        self._hold_label()
        with _refusals(self._where):
            chunks, temporary = self._folder(CHUNKS, make=True), self._folder(TEMPORARY, make=True)
            if _exists(name, chunks):
                raise _taken(self._where, name)
            while True:
                aside = f"{name}.{secrets.token_hex(8)}"
                file = os.open(aside, _WRITE, 0o600, dir_fd=temporary)
                if _lock(file) and os.fstat(file).st_nlink:
                    break
                # A cleaner came between the two calls and took it for a dead writer's.
                os.close(file)
        return DirectoryWriter(
            name,
            where=self._where,
            file=file,
            staging=self._staging,
            aside=aside,
            chunks=chunks,
            temporary=temporary,
        )

    def open(self, name: str) -> DirectoryReader:
        """Open a whole chunk; see ``Medium.open``."""
        require_name(name)
        with _refusals(f"{self._where}/{CHUNKS}/{name}"):
            try:
                file = os.open(name, _READ, dir_fd=self._folder(CHUNKS))
            except FileNotFoundError:
                raise ChunkMissingError(chunk=name) from None
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                os.close(file)
                raise ChunkMissingError(chunk=name)
        return DirectoryReader(name, where=self._where, file=file, size=found.st_size)

    def names(self) -> Iterator[str]:
        """Yield the names of whole chunks, sorted; see ``Medium.names``."""
        with _refusals(self._where):
            try:
                folder = self._folder(CHUNKS)
            except FileNotFoundError:
                return
            with os.scandir(folder) as entries:
                found = sorted(e.name for e in entries if e.is_file(follow_symlinks=False))
        yield from found

    def forget(self, name: str) -> None:
        """Drop a chunk; see ``Medium.forget``."""
        require_name(name)
        with _refusals(self._where), suppress(FileNotFoundError):
            folder = self._folder(CHUNKS)
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def clean(self) -> list[str]:
        """Remove the files of dead writers; see ``Medium.clean``."""
        removed: list[str] = []
        with _refusals(self._where):
            try:
                folder = self._folder(TEMPORARY)
            except FileNotFoundError:
                return removed
            with os.scandir(folder) as entries:
                found = sorted(e.name for e in entries if e.is_file(follow_symlinks=False))
            removed.extend(name for name in found if _remove_if_dead(name, folder))
        return removed

    def label(self) -> VolumeLabel | None:
        """Return the folder's label; None where it has none.

        Raises:
            FormatError: It is damaged.
            StoreError: It cannot be read.
        """
        with _refusals(self._where):
            root = open_folder(self._path)
            try:
                file = os.open(LABEL, _READ, dir_fd=root)
            except FileNotFoundError:
                return None
            finally:
                os.close(root)
            try:
                return VolumeLabel.decode(memoryview(os.read(file, LABEL_MAX)))
            finally:
                os.close(file)

    def close(self) -> None:
        """Let go of the folders; writers and readers that are open need them no more."""
        while self._folders:
            os.close(self._folders.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _hold_label(self) -> None:
        """Label the folder, or hold its label against the owner; once."""
        owner = self._owner
        if owner is None:
            return
        if self.label() is None:
            self._write_label(owner)
        label = self.label()
        # Another may have written one at the same time: what is there now is what holds.
        if label is not None:
            owner.require(label, self._where)
            self._owner = None

    def _write_label(self, owner: Owner) -> None:
        record = owner.label(os.path.basename(self._where.rstrip("/"))[:60]).encode()  # noqa: PTH119 - text
        with _refusals(self._where):
            root = open_folder(self._path)
            aside = f".{LABEL}.{secrets.token_hex(8)}"
            try:
                file = os.open(aside, _WRITE, 0o600, dir_fd=root)
                try:
                    os.write(file, record)
                    os.fsync(file)
                finally:
                    os.close(file)
                os.rename(aside, LABEL, src_dir_fd=root, dst_dir_fd=root)
                os.fsync(root)
            finally:
                os.close(root)

    def _folder(self, name: str, *, make: bool = False) -> int:
        if name not in self._folders:
            root = open_folder(self._path)
            try:
                if make and not _exists(name, root):
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=root)
                    os.fsync(root)
                self._folders[name] = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=root)
            finally:
                os.close(root)
        return self._folders[name]


class DirectoryWriter:
    """One chunk file that is being written; see ``Writer``."""

    def __init__(
        self,
        name: str,
        *,
        where: str,
        file: int,
        staging: Staging,
        aside: str,
        chunks: int,
        temporary: int,
    ) -> None:
        self.name = name
        self.length = 0
        self._where = where
        self._file = file
        self._direct = DirectFile(file, staging)
        self._aside = aside
        self._is_linked = False
        # Its own descriptors: the medium may be closed while a chunk is still on its way.
        self._chunks = os.dup(chunks)
        self._temporary = os.dup(temporary)

    def write(self, views: Sequence[memoryview | bytes]) -> None:
        """Append; see ``Writer.write``."""
        with _refusals(self._where):
            self._direct.append(views)
        self.length = self._direct.length

    def commit(self) -> None:
        """Make the chunk durable and visible; see ``Writer.commit``."""
        try:
            with _refusals(self._where):
                self._direct.finish()
                os.fsync(self._file)
                self._move()
                os.fsync(self._chunks)
        except (StoreError, MediumFullError):
            self.abandon()
            raise
        self._close()

    def abandon(self) -> None:
        """Drop the file; see ``Writer.abandon``."""
        if self._file < 0:
            return
        self._direct.abandon()
        if self._is_linked:
            with suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=self._chunks)
        with suppress(FileNotFoundError):
            os.unlink(self._aside, dir_fd=self._temporary)
        self._close()

    def _move(self) -> None:
        """Give the file its name, unless there is one of that name; then take the other away."""
        try:
            os.link(
                self._aside,
                self.name,
                src_dir_fd=self._temporary,
                dst_dir_fd=self._chunks,
                follow_symlinks=False,
            )
        except FileExistsError:
            raise _taken(self._where, self.name) from None
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            # A rename would replace, so the name is looked at once more.
            if _exists(self.name, self._chunks):
                raise _taken(self._where, self.name) from None
            os.rename(self._aside, self.name, src_dir_fd=self._temporary, dst_dir_fd=self._chunks)
            self._is_linked = True
        else:
            self._is_linked = True
            # A name that cannot be taken away now is one that the next cleaner takes away.
            with suppress(OSError):
                os.unlink(self._aside, dir_fd=self._temporary)

    def _close(self) -> None:
        for descriptor in (self._file, self._chunks, self._temporary):
            os.close(descriptor)
        self._file = -1


class DirectoryReader:
    """One chunk file; see ``Reader``."""

    def __init__(self, name: str, *, where: str, file: int, size: int) -> None:
        self.name = name
        self.size = size
        self._where = f"{where}/{CHUNKS}/{name}"
        self._file = file

    def read_into(self, views: Sequence[memoryview], offset: int) -> Bytes:
        """Fill the views; see ``Reader.read_into``."""
        with _refusals(self._where):
            done = os.preadv(self._file, views, offset)
            want = sum(map(len, views))
            while done < want:
                more = os.preadv(self._file, _behind(views, done), offset + done)
                if not more:
                    break
                done += more
        return Bytes(done)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@contextmanager
def _refusals(where: str) -> Iterator[None]:
    """Say what the operating system refuses in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise MediumFullError(where=where) from error
        raise StoreError(store=where, reason=error.strerror or "refused") from error


def _taken(where: str, name: str) -> StoreError:
    return StoreError(store=where, reason=f"chunk {name} is already there")


def _behind(views: Sequence[memoryview], done: int) -> list[memoryview]:
    """Return what is left of the views behind their first ``done`` bytes."""
    left = []
    for view in views:
        if done < len(view):
            left.append(view[done:])
        done = max(0, done - len(view))
    return left


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_if_dead(name: str, folder: int) -> bool:
    try:
        file = os.open(name, _READ, dir_fd=folder)
    except FileNotFoundError:
        return False
    try:
        if not _lock(file):
            return False
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        return True
    finally:
        os.close(file)
