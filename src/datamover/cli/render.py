"""The one place that turns answers into text.

Tables for people, tab-separated lines when piped, JSON lines for programs.
"""

from __future__ import annotations

import json
import stat
import sys
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

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
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from datamover.cli.answer import Answer, Column, Value
    from datamover.cli.everywhere import Everywhere

__all__ = ["cell", "plain", "show"]

_ID_DIGITS: Final = 12
_NUMBERS: Final[Mapping[Kind, Callable[[Any], str]]] = {
    Kind.COUNT: count_text,
    Kind.BYTES: size_text,
    Kind.RATE: rate_text,
    Kind.RATIO: "{:.2f}".format,
    Kind.SECONDS: "{:.2f} s".format,
    Kind.SHARE: "{:.0%}".format,
    Kind.PERCENT: "{:.0%}".format,
    Kind.TIME: time_text,
    Kind.MODE: stat.filemode,
}


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
            kinds = [column.kind for column in answer.columns]
            for row in answer.rows:
                put("\t".join(map(plain, row, kinds)) + "\n")
        case Rows(stream=True):
            for row in answer.rows:
                put(_aligned(answer.columns, row) + "\n")
        case _:
            _table(answer)


def cell(value: Value, kind: Kind) -> str:
    """Write a value for people."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return printable(value[:_ID_DIGITS] if kind is Kind.ID else value)
        case _:
            return _NUMBERS.get(kind, str)(value)


def plain(value: Value, kind: Kind) -> str:
    """Write a value for scripts: whole numbers in base units, names escaped, nothing for None."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case str():
            return printable(value)
        case float():
            return f"{value:.10g}"
        case _:
            return f"{value:o}" if kind is Kind.MODE else str(value)


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
