"""One open catalog: the embedded SQLite database of a store.

What is peculiar to SQLite is in this module alone; the master map and the data index see a
SQLAlchemy engine and would run on another database.

Source: docs/spec/catalog.md; DESIGN D12.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

import msgspec
from sqlalchemy import create_engine, event, insert, select
from sqlalchemy.exc import DBAPIError

from datamover.catalog.data_index import DataIndex
from datamover.catalog.master_map import MasterMap
from datamover.catalog.schema import CATALOG, SCHEMA_VERSION, TABLES
from datamover.errors import CatalogError, MediumFullError, StoreError, VersionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from sqlalchemy import Connection, Engine

    from datamover.ids import StoreId

__all__ = ["Catalog"]

_NAME: Final = "catalog.sqlite"
_LOCK: Final = "catalog.lock"
_NO_ROOM: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN}
)
_BUSY_S: Final = 30.0
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

    def __init__(self, folder: Path, *, engine: Engine, lock: int | None) -> None:
        self._folder = folder
        self._engine = engine
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
        catalog = cls(folder, engine=_engine(folder), lock=lock)
        try:
            with catalog._reading() as connection:
                _check(connection, folder, store)
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
        lock = _lock(folder, fcntl.LOCK_EX)
        try:
            aside = _begin_aside(folder)
            fresh = cls(folder, engine=_engine(folder, aside=aside), lock=None)
            try:
                with fresh._writing(durable=False) as connection:
                    TABLES.create_all(connection)
                    row = {"id": 1, "schema_version": SCHEMA_VERSION, "store": store}
                    connection.execute(insert(CATALOG).values(row))
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
        self._engine.dispose()
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
    def _reading(self) -> Iterator[Connection]:
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _writing(self, *, durable: bool) -> Iterator[Connection]:
        engine = self._engine.execution_options(catalog_writes=True, catalog_durable=durable)
        with self._translated(), engine.begin() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the database says into this project's errors."""
        try:
            yield
        except DBAPIError as error:
            raise _translate(error, self._folder) from error
        except msgspec.ValidationError as error:
            reason = f"the catalog cannot be used: {error}"
            raise CatalogError(store=str(self._folder), reason=reason) from error


def _translate(error: DBAPIError, folder: Path) -> StoreError | MediumFullError:
    cause = error.orig
    extended = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = extended & 0xFF
    # A full disk first refuses the file that a WAL's readers share, under a name of its own.
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return MediumFullError(where=str(folder))
    if code in _FOREIGN or "no such" in str(cause):
        return CatalogError(store=str(folder), reason=f"the catalog cannot be used: {cause}")
    return StoreError(store=str(folder), reason=f"the catalog refuses: {cause}")


def _check(connection: Connection, folder: Path, store: StoreId) -> None:
    row = connection.execute(select(CATALOG.c.schema_version, CATALOG.c.store)).first()
    if row is None or not isinstance(row.schema_version, int):
        raise CatalogError(store=str(folder), reason="the catalog has no version")
    if row.schema_version > SCHEMA_VERSION:
        raise VersionError(what="catalog", found=row.schema_version, newest=SCHEMA_VERSION)
    if row.store != store:
        raise CatalogError(store=str(folder), reason="the catalog is another store's")


def _engine(folder: Path, *, aside: Path | None = None) -> Engine:
    """Prepare the connection to the catalog, or to the one that is made aside."""
    # A read-only file system holds no WAL and no other writer: the database cannot change.
    wal = (folder / (_NAME + "-wal")).exists()
    frozen = not wal and not os.access(folder, os.W_OK)
    # Opening never makes a file, or a store without a catalog would seem to be an empty store.
    mode = "mode=ro&immutable=1" if frozen else "mode=rw"
    uri = f"file:{quote(os.fsencode(aside or folder / _NAME))}?{mode}"

    def connect() -> sqlite3.Connection:
        try:
            return attempt("NORMAL")
        except sqlite3.OperationalError as error:
            if frozen or error.sqlite_errorcode not in _NO_ROOM:
                raise
            # A full disk has no room for the index that processes share.  Alone, SQLite keeps it
            # in memory: what is stored can still be read.
            return attempt("EXCLUSIVE")

    def attempt(locking: str) -> sqlite3.Connection:
        raw = sqlite3.connect(
            uri, uri=True, isolation_level=None, timeout=_BUSY_S, check_same_thread=False
        )
        try:
            raw.execute(f"PRAGMA locking_mode={locking}")
            raw.execute("PRAGMA foreign_keys=ON")
            if not frozen:
                # A crash while it is made aside discards it, so nothing there needs a journal.
                raw.execute("PRAGMA journal_mode=" + ("MEMORY" if aside else "WAL"))
            raw.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            raw.close()
            raise
        return raw

    options = {"catalog_aside": aside is not None}
    engine = create_engine("sqlite://", creator=connect, execution_options=options)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """Open the transaction as the caller asked for it.

    A writer takes the write lock at once: a transaction that reads first and upgrades later
    fails with "busy" when another one wrote between, however long it is ready to wait.
    """
    options = connection.get_execution_options()
    durable = "FULL" if options.get("catalog_durable") else "NORMAL"
    level = "OFF" if options["catalog_aside"] else durable
    connection.exec_driver_sql(f"PRAGMA synchronous={level}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("catalog_writes") else "BEGIN")


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
