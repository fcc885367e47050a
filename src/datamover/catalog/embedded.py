"""The embedded database: connections to one SQLite file, and transactions on them.

What is peculiar to SQLite is in this module alone.

Source: docs/spec/catalog.md; DESIGN D12.
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from datamover.catalog.session import Row

__all__ = ["Embedded"]

_NO_ROOM: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN}
)
_BUSY_S: Final = 30.0


class Embedded:
    """The connections of one process to a database file; each transaction has one for itself.

    Safe to use from several threads; not to be carried over a fork.
    """

    def __init__(self, path: Path, *, aside: bool = False) -> None:
        """Prepare to open a database; nothing is opened yet.

        Args:
            path: Its file, which is there: opening never makes one, or a store without a catalog
                would seem to be an empty store.
            aside: It is being made where nobody looks, and a crash discards it: it needs neither
                a journal nor to be durable.
        """
        self._aside = aside
        # A read-only file system holds no WAL and no other writer: the database cannot change.
        wal = path.with_name(path.name + "-wal").exists()
        self._is_frozen = not aside and not wal and not os.access(path.parent, os.W_OK)
        mode = "mode=ro&immutable=1" if self._is_frozen else "mode=rw"
        self._uri = f"file:{quote(os.fsencode(path))}?{mode}"
        self._idle: deque[sqlite3.Connection] = deque()

    @contextmanager
    def transaction(self, *, writes: bool = False, durable: bool = False) -> Iterator[_Session]:
        """Commit when the block ends, roll back when it raises.

        Args:
            writes: Take the write lock at once: a transaction that reads first and upgrades later
                fails with "busy" when another one wrote between, however long it may wait.
            durable: It is on the disk when it has ended.

        Raises:
            sqlite3.Error: The database refuses.

        Blocking: at most 30 s, while another process writes.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            level = "OFF" if self._aside else "FULL" if durable else "NORMAL"
            connection.execute(f"PRAGMA synchronous={level}")
            connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            yield _Session(connection)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.rollback()
            # Nothing has to be known of the state that it is in.
            connection.close()
            raise
        self._idle.append(connection)

    def close(self) -> None:
        """Close what no transaction uses; again is harmless."""
        while self._idle:
            self._idle.pop().close()

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._attempt("NORMAL")
        except sqlite3.OperationalError as error:
            if self._is_frozen or error.sqlite_errorcode not in _NO_ROOM:
                raise
            # A full disk has no room for the index that processes share.  Alone, SQLite keeps it
            # in memory: what is stored can still be read.
            return self._attempt("EXCLUSIVE")

    def _attempt(self, locking: str) -> sqlite3.Connection:
        raw = sqlite3.connect(
            self._uri, uri=True, isolation_level=None, timeout=_BUSY_S, check_same_thread=False
        )
        try:
            raw.execute(f"PRAGMA locking_mode={locking}")
            raw.execute("PRAGMA foreign_keys=ON")
            if not self._is_frozen:
                raw.execute("PRAGMA journal_mode=" + ("MEMORY" if self._aside else "WAL"))
            raw.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            raw.close()
            raise
        return raw


class _Session:
    """See ``datamover.catalog.session``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, **values: object) -> list[Row]:
        """See ``Session``."""
        found = self._connection.execute(statement, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def change(self, statement: str, *values: Row) -> int:
        """See ``Session``."""
        return self._connection.executemany(statement, values or ({},)).rowcount
