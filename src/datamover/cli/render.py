"""The one place that turns answers into text.

Tables for people, tab-separated lines when piped, JSON lines for programs.
"""

from __future__ import annotations

import json
import stat
import sys
from itertools import chain
from typing import TYPE_CHECKING

from datamover.cli.answer import Drawing, Kind, Record, Rows
from datamover.cli.measure import (
    count_text,
    printable,
    rate_text,
    size_text,
    time_text,
)
from datamover.cli.screen import is_terminal, put

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from datamover.cli.answer import Answer, Column, Value
    from datamover.cli.everywhere import Everywhere

__all__ = ["cell", "plain", "show"]


def show(answer: Answer, everywhere: Everywhere) -> None:
    """Write an answer to standard output, in the form its reader wants.

    Raises:
        OutputClosedError: The reader has gone.
    """
    if everywhere.json:
        for line in _json_lines(answer):
            put(line + "\n")
        return
    match answer:
        case Drawing():
            put(answer.text)
        case Rows() if not is_terminal(sys.stdout):
            for row in answer.rows:
                put("\t".join(plain(value) for value in row) + "\n")
        case Rows(stream=True):
            for row in answer.rows:
                put(_aligned(answer.columns, row) + "\n")
        case _:
            _table(answer)


def cell(value: Value, kind: Kind) -> str:
    """Write a value for people."""
    match value, kind:
        case None, _:
            text = "-"
        case int(), Kind.COUNT:
            text = count_text(value)
        case int() | float(), Kind.BYTES:
            text = size_text(value)
        case int() | float(), Kind.RATE:
            text = rate_text(value)
        case int(), Kind.TIME:
            text = time_text(value)
        case int(), Kind.MODE:
            text = stat.filemode(value)
        case int() | float(), _:
            text = _number(value, kind)
        case _:
            text = printable(str(value))
    return text


def plain(value: Value) -> str:
    """Write a value for scripts: whole numbers in base units, names escaped, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        printable(value)
        if isinstance(value, str)
        else f"{value:.10g}"
        if isinstance(value, float)
        else str(value)
    )


def _number(value: float, kind: Kind) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    match kind:
        case Kind.RATIO:
            return f"{value:.2f}"
        case Kind.SECONDS:
            return f"{value:.2f} s"
        case Kind.SHARE | Kind.PERCENT:
            return f"{value:.0%}"
        case _:
            return str(value)


def _aligned(columns: Sequence[Column], row: Sequence[Value]) -> str:
    texts = (
        cell(value, column.kind).rjust(column.width)
        if column.kind in {Kind.COUNT, Kind.BYTES}
        else cell(value, column.kind).ljust(column.width)
        for column, value in zip(columns, row, strict=True)
    )
    return "  ".join(texts).rstrip(" ")


def _json_lines(answer: Answer) -> Iterator[str]:
    match answer:
        case Drawing():
            yield json.dumps(answer.json)
        case Rows():
            for row in answer.rows:
                yield json.dumps({"event": answer.event} | _named(answer.columns, row))
        case Record():
            parts = {
                key: [_named(rows.columns, row) for row in rows.rows]
                for key, rows in answer.parts.items()
            }
            yield json.dumps(
                {"event": answer.event} | _named(answer.columns, answer.values) | parts
            )


def _named(columns: Sequence[Column], row: Sequence[Value]) -> dict[str, object]:
    return {column.key: value for column, value in zip(columns, row, strict=True)}


def _table(answer: Rows | Record) -> None:
    from datamover.cli import tables  # noqa: PLC0415 - Rich, which pipes and JSON do not need

    if isinstance(answer, Record):
        put(tables.record(answer))
        return
    rows = iter(answer.rows)
    first = next(rows, None)
    if first is None:
        put(f"{answer.empty}\n" if answer.empty else "")
        return
    put(tables.rows(answer.columns, chain([first], rows)))
