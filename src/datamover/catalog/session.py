"""One transaction of a catalog, whichever database keeps it: statements in, rows out.

Statements are text in the SQL that SQLite and PostgreSQL share, with ``:name`` for values, as
``sqlite3`` and SQLAlchemy's ``text`` both take it.  Every command that opens a store asks a few
plain questions; making SQLAlchemy ready to put them would cost it 0.15 s.

Source: docs/decisions/0030-the-catalog-is-asked-in-plain-sql.md; DESIGN D12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Reading", "Row", "Session", "Writing", "insertion"]

Row = Mapping[str, object]
"""A row, or the values of a statement, by their names."""


class Session(Protocol):
    """An open transaction; every call may raise what its catalog turns into project errors."""

    def rows(self, statement: str, **values: object) -> list[Row]:
        """Run a statement that reads, and return all of what it finds."""
        ...

    def change(self, statement: str, *values: Row) -> int:
        """Run a statement once for each set of values; return how many rows it changed."""
        ...


class Reading(Protocol):
    """Opens a transaction that reads."""

    def __call__(self) -> AbstractContextManager[Session]:
        """Commit when the block ends, roll back when it raises."""
        ...


class Writing(Protocol):
    """Opens a transaction that writes; ``durable``: it is on the medium when it has ended."""

    def __call__(self, *, durable: bool) -> AbstractContextManager[Session]:
        """Commit when the block ends, roll back when it raises."""
        ...


def insertion(table: str, row: Row) -> str:
    """Return the statement that inserts rows with the columns of ``row``."""
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{n}' for n in row)})"  # noqa: S608 - names of this program's own fields
