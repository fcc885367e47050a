"""Tables for people, drawn by Rich; imported only when one is shown."""

from __future__ import annotations

import sys
from io import StringIO
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from datamover.cli.answer import Kind
from datamover.cli.measure import bar
from datamover.cli.render import cell
from datamover.cli.screen import blocks, is_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from datamover.cli.answer import Column, Record, Value

__all__ = ["record", "rows"]

_BAR: Final = 8
_LEFT: Final = frozenset({Kind.TEXT, Kind.ID, Kind.TIME, Kind.MODE, Kind.SHARE})
_WIDTH_OF_A_FILE: Final = 160


def rows(columns: Sequence[Column], values: Iterable[Sequence[Value]]) -> str:
    """Return a table with a heading."""
    return _draw(_table(columns, values))


def record(answer: Record) -> str:
    """Return a title, one line a value, and the tables of its parts."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for column, value in zip(answer.columns, answer.values, strict=True):
        table.add_row(Text(column.heading), Text(cell(value, column.kind)))
    parts = [_table(part.columns, part.rows) for part in answer.parts.values()]
    drawn = "".join("\n" + _draw(part) for part in parts if part.row_count)
    return f"{answer.title}\n{_draw(table)}{drawn}"


def _table(columns: Sequence[Column], values: Iterable[Sequence[Value]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for column in columns:
        table.add_column(
            column.heading,
            justify="left" if column.kind in _LEFT else "right",
            no_wrap=column.kind is not Kind.TEXT,
            overflow="fold",
            min_width=column.width or None,
        )
    for row in values:
        table.add_row(*(Text(_cell(v, c.kind)) for c, v in zip(columns, row, strict=True)))
    return table


def _cell(value: Value, kind: Kind) -> str:
    text = cell(value, kind)
    if kind is Kind.SHARE and isinstance(value, int | float):
        return f"{text:>4} {bar(value, _BAR, blocks=blocks(sys.stdout))}"
    return text


def _draw(table: Table) -> str:
    """Draw into text first, so that writing it has one place and one way to fail."""
    terminal = is_terminal(sys.stdout)
    out = StringIO()
    console = Console(
        file=out,
        force_terminal=terminal,
        no_color=None if terminal else True,
        width=None if terminal else _WIDTH_OF_A_FILE,
        highlight=False,
        legacy_windows=False,
        safe_box=not blocks(sys.stdout),
    )
    console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
