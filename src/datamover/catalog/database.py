"""One open catalog: the embedded SQLite database of a store.

It is locked, checked and replaced here; the master map and the data index see sessions, and would
run on another database.

Source: docs/spec/catalog.md; DESIGN D12.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

import msgspec

from datamover.catalog.data_index import DataIndex
from datamover.catalog.embedded import Embedded
from datamover.catalog.master_map import MasterMap
from datamover.catalog.rows import SCHEMA_VERSION
from datamover.catalog.session import insertion
from datamover.errors import CatalogError, MediumFullError, StoreError, VersionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from datamover.catalog.session import Session
    from datamover.ids import StoreId

__all__ = ["Catalog"]

_NAME: Final = "catalog.sqlite"
_LOCK: Final = "catalog.lock"
_FOREIGN: Final = frozenset(
    {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN}
)


class Catalog:
    """The catalog of one store, open; a context manager.

    Safe to use from several threads; not to be carried over a fork.

    Attributes:
        map: What is where.
        index: What is inside.
    """

    def __init__(self, folder: Path, *, database: Embedded, lock: int | None) -> None:
        self._folder = folder
        self._database = database
        self._lock = lock
        self.map = MasterMap(self._reading, self._writing, place=str(folder))
        self.index = DataIndex(self._reading)

    @classmethod
    def open(cls, folder: Path, *, store: StoreId) -> Self:
        """Open the catalog in ``folder``.

        Args:
            folder: The store's folder.
            store: The id that the catalog must carry.

        Raises:
            CatalogError: It is missing, damaged, another store's, or no catalog at all.
            VersionError: A newer release made it.
            StoreError: It is being rebuilt.

        Blocking: at most 30 s, while another process writes.
        """
        lock = _lock(folder, fcntl.LOCK_SH)
        catalog = cls(folder, database=Embedded(folder / _NAME), lock=lock)
        try:
            with catalog._reading() as session:
                _check(session, folder, store)
        except BaseException:
            catalog.close()
            raise
        return catalog

    @classmethod
    def create(cls, folder: Path, *, store: StoreId) -> None:
        """Make an empty catalog in ``folder``: wholly there when this returns, or not at all.

        Raises:
            MediumFullError: No room; nothing is left behind.
            StoreError: The folder refuses.
        """
        with cls.replaced(folder, store=store):
            pass

    @classmethod
    @contextmanager
    def replaced(cls, folder: Path, *, store: StoreId) -> Iterator[Self]:
        """Fill a new catalog aside in a ``with`` block; at its end it takes the old one's place.

        When the block raises, the old catalog stays as it was.

        Raises:
            StoreError: The catalog is in use, or the folder refuses.
        """
        # Imported late: SQLAlchemy costs 0.15 s, and tables are made but once.
        from datamover.catalog.schema import creation  # noqa: PLC0415 - as above

        lock = _lock(folder, fcntl.LOCK_EX)
        try:
            aside = _begin_aside(folder)
            fresh = cls(folder, database=Embedded(aside, aside=True), lock=None)
            try:
                with fresh._writing(durable=False) as session:
                    for statement in creation():
                        session.change(statement)
                    row = {"id": 1, "schema_version": SCHEMA_VERSION, "store": store}
                    session.change(insertion("catalog", row), row)
                yield fresh
            except BaseException:
                fresh.close()
                _remove(aside)
                raise
            fresh.close()
            _install(aside, folder)
        finally:
            if lock is not None:
                os.close(lock)

    def close(self) -> None:
        """Let go of the database and its lock; again is harmless."""
        self._database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._translated(), self._database.transaction() as session:
            yield session

    @contextmanager
    def _writing(self, *, durable: bool) -> Iterator[Session]:
        with (
            self._translated(),
            self._database.transaction(writes=True, durable=durable) as session,
        ):
            yield session

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the database says into this project's errors."""
        try:
            yield
        except sqlite3.Error as error:
            raise _translate(error, self._folder) from error
        except msgspec.ValidationError as error:
            reason = f"the catalog cannot be used: {error}"
            raise CatalogError(store=str(self._folder), reason=reason) from error


def _translate(cause: sqlite3.Error, folder: Path) -> StoreError | MediumFullError:
    extended = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = extended & 0xFF
    # A full disk first refuses the file that a WAL's readers share, under a name of its own.
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return MediumFullError(where=str(folder))
    if code in _FOREIGN or "no such" in str(cause):
        return CatalogError(store=str(folder), reason=f"the catalog cannot be used: {cause}")
    return StoreError(store=str(folder), reason=f"the catalog refuses: {cause}")


def _check(session: Session, folder: Path, store: StoreId) -> None:
    found = session.rows("SELECT schema_version, store FROM catalog")
    version = found[0]["schema_version"] if found else None
    if not isinstance(version, int):
        raise CatalogError(store=str(folder), reason="the catalog has no version")
    if version > SCHEMA_VERSION:
        raise VersionError(what="catalog", found=version, newest=SCHEMA_VERSION)
    if found[0]["store"] != store:
        raise CatalogError(store=str(folder), reason="the catalog is another store's")


def _lock(folder: Path, kind: int) -> int | None:
    """Lock the catalog; None where nothing can be locked, because nothing can be written."""
    try:
        held = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if kind == fcntl.LOCK_SH and folder.is_dir() and not os.access(folder, os.W_OK):
            return None
        raise StoreError(store=str(folder), reason=f"catalog lock: {error.strerror}") from error
    try:
        fcntl.flock(held, kind | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        reason = "the catalog is in use by another process"
        raise StoreError(store=str(folder), reason=reason) from error
    return held


def _begin_aside(folder: Path) -> Path:
    aside = folder / (_NAME + ".new")
    try:
        _remove(aside)
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(store=str(folder), reason=f"catalog: {error.strerror}") from error
    return aside


def _install(aside: Path, folder: Path) -> None:
    """Put a finished database in the place of the old one; the caller holds the lock."""
    try:
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        # The new database has no WAL; an old one that stayed would be replayed over it.
        for suffix in ("-wal", "-shm"):
            _remove(folder / (_NAME + suffix))
        aside.rename(folder / _NAME)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(store=str(folder), reason=f"catalog: {error.strerror}") from error


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
