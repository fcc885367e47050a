"""Lines: where each table and each key of a TOML text stands.

``tomllib`` says what a text means and not where it says so.  This scanner finds out where, for a
text that ``tomllib`` has read: it knows strings, comments and brackets, and takes nothing apart.
What it does not find (a key within an inline table, or one written with escapes) has the line of
the table, or of the key, that it is in.

Source: docs/spec/placement.md, section 1; docs/decisions/0028-placement-is-decided-key-by-key.md.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Lines"]

_TOKEN: Final = re.compile(
    r'(?P<string>"""(?:[^"\\]|\\.|"(?!""))*"{3,5}|\'\'\'(?:[^\']|\'(?!\'\'))*\'{3,5}'
    r'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\')'
    r"|(?P<comment>#[^\n]*)|(?P<end>\n)|(?P<mark>[\[\]{}=.])|(?P<word>[^\s\"'#\[\]{}=.]+)",
    re.DOTALL,
)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")

_Token = tuple[str, str, int]
"""Its kind, its text and its line."""


class Lines:
    """Looks up lines of one text, which ``tomllib`` has accepted."""

    def __init__(self, text: str) -> None:
        self._tables: dict[tuple[str, int], int] = {}
        self._keys: dict[tuple[str, int, str], int] = {}
        counts: Counter[str] = Counter()
        here = ("", 0)
        for statement in _statements(text):
            line = statement[0][2]
            if statement[0][1] == "[":
                is_array = statement[1][1] == "["
                name = _name(statement[1 + is_array :])
                here = (name, counts[name] if is_array else 0)
                counts[name] += is_array
                self._tables.setdefault(here, line)
            else:
                self._keys.setdefault((*here, _name(statement)), line)

    def table(self, name: str, number: int = 0) -> int:
        """Return the line of a table's header, of the ``number``-th of that name in an array."""
        found = self._tables.get((name, number))
        return self._keys.get(("", 0, name), 1) if found is None else found

    def key(self, table: str, number: int, key: str) -> int:
        """Return the line of a key, or of the table that it is in; "" is the top of the file."""
        found = self._keys.get((table, number, key))
        if found is not None:
            return found
        return self.table(table, number) if table else self.table(key)


def _statements(text: str) -> Iterator[list[_Token]]:
    """Yield the tokens of each header, and of each key with what is before its value's end."""
    tokens: list[_Token] = []
    depth = 0
    for token in _tokens(text):
        kind, mark, _ = token
        if kind == "end":
            if tokens and not depth:
                yield tokens
                tokens = []
        elif kind != "comment":
            tokens.append(token)
            depth += (mark in "[{") - (mark in "]}") if kind == "mark" else 0
    if tokens:
        yield tokens


def _tokens(text: str) -> Iterator[_Token]:
    line = at = 1
    for match in _TOKEN.finditer(text):
        kind, said = match.lastgroup or "", match[0]
        at, line = line, line + said.count("\n")
        yield kind, said, at


def _name(tokens: list[_Token]) -> str:
    """Return the dotted name before ``=`` or ``]``; its first part alone, without quotes."""
    kind, said, _ = tokens[0]
    if kind == "string":
        return said[1:-1]
    bare = _BARE.match(said)
    return bare[0] if bare else ""
