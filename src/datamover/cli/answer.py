"""What a command answers, as values: it knows nothing of tables, JSON, colors or terminals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

__all__ = ["Answer", "Column", "Drawing", "Kind", "Record", "Rows", "Value"]

Value = str | int | float | bool | None


class Kind(Enum):
    """What a value is, so that one place decides how it is written."""

    TEXT = auto()
    """A name, a path, a word."""
    ID = auto()
    """An id in hex; people need its beginning only."""
    COUNT = auto()
    BYTES = auto()
    RATE = auto()
    """Bytes a second."""
    RATIO = auto()
    SECONDS = auto()
    SHARE = auto()
    """0 to 1, shown with a bar."""
    PERCENT = auto()
    """0 to 1, shown as a number."""
    TIME = auto()
    """Nanoseconds since the epoch."""
    MODE = auto()
    """The type and permission bits of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of rows, or one line of a record.

    Attributes:
        key: Its name for programs.
        heading: Its name for people.
        width: Cells it is given at least; all it gets when rows are shown as they come.
    """

    key: str
    heading: str
    kind: Kind = Kind.TEXT
    width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Any number of like things.

    Attributes:
        event: What one row is, for programs: the value of "event" in its JSON object.
        rows: One value a column; may be a generator, and is taken once.
        stream: Show each row as it comes, without waiting for the last; for listings without end.
        empty: What people read when there is no row.
    """

    event: str
    columns: tuple[Column, ...]
    rows: Iterable[Sequence[Value]]
    stream: bool = False
    empty: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing, with named values and perhaps some rows that belong to it."""

    event: str
    title: str
    columns: tuple[Column, ...]
    values: Sequence[Value]
    parts: Mapping[str, Rows] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Text that is the answer itself, and what it says as values for programs."""

    text: str
    json: Mapping[str, object] = field(default_factory=dict)


Answer = Rows | Record | Drawing
