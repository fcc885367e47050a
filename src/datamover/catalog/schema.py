"""The tables, in types that SQLite and PostgreSQL share.

Source: docs/spec/catalog.md, section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ARCHIVE", "CATALOG", "CHUNK", "PAGE", "TABLES", "creation"]

TABLES: Final = MetaData()

CATALOG: Final = Table(
    "catalog",
    TABLES,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("schema_version", Integer, nullable=False),
    Column("store", LargeBinary(16), nullable=False),
    CheckConstraint("id = 1", name="catalog_one_row"),
)

ARCHIVE: Final = Table(
    "archive",
    TABLES,
    Column("id", LargeBinary(16), primary_key=True),
    Column("state", Text, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("completed_ns", BigInteger),
    Column("label", LargeBinary, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("directories", BigInteger, nullable=False),
    Column("others", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_stored", BigInteger, nullable=False),
    Column("blocks", BigInteger, nullable=False),
    Column("chunks", BigInteger, nullable=False),
    CheckConstraint("state IN ('incomplete', 'complete')", name="archive_state"),
    CheckConstraint(
        "(state = 'complete') = (completed_ns IS NOT NULL)", name="archive_completed_ns"
    ),
    Index("archive_by_time", "created_ns", "id"),
)

CHUNK: Final = Table(
    "chunk",
    TABLES,
    Column("archive", LargeBinary(16), ForeignKey("archive.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    Column("first_block", BigInteger, nullable=False),
    Column("blocks", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
)

PAGE: Final = Table(
    "page",
    TABLES,
    Column("archive", LargeBinary(16), ForeignKey("archive.id"), primary_key=True),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("chunk", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
    CheckConstraint("kind IN ('index', 'contents')", name="page_kind"),
)


def creation() -> Iterator[str]:
    """Yield the statements that make the tables in an empty SQLite database."""
    dialect = sqlite.dialect()
    for table in TABLES.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect))
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))
