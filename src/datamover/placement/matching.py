"""Matching: whether conditions hold of what is known about a file.

What is cheap is asked first: size and age are known, a path takes a pattern, and the content has to
be looked for.

Source: docs/spec/placement.md, section 2; SPEC F7, X6.
"""

from __future__ import annotations

import fnmatch
import re
from functools import cache
from typing import TYPE_CHECKING, Final

from datamover.codec.content import HEAD_SIZE, TYPES, sniff
from datamover.files.exclude import Excludes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from datamover.placement.rule import Conditions

__all__ = ["Facts", "Matcher", "types_matching"]

_SECOND: Final = 10**9
_UNKNOWN: Final = ""


class Facts:
    """What a rule can ask about one file.

    Args:
        directory: On the source machine.
        name: In that directory.
        size: Bytes.
        age_ns: Since its data was changed, when the backup begins; negative for the future.
        head: Given the name and a number, returns so many of the file's first bytes; None when it
            cannot be read.  Called once at most, and only if a rule needs it.
    """

    __slots__ = ("_content", "_head", "age_ns", "directory", "name", "size")

    def __init__(
        self,
        directory: bytes,
        name: bytes,
        *,
        size: int,
        age_ns: int,
        head: Callable[[bytes, int], bytes | None],
    ) -> None:
        self.directory = directory
        self.name = name
        self.size = size
        self.age_ns = age_ns
        self._head = head
        self._content: str | None = None

    @property
    def content(self) -> str:
        """Its content type; empty when it cannot be read."""
        if self._content is None:
            head = self._head(self.name, HEAD_SIZE)
            self._content = _UNKNOWN if head is None else sniff(head)
        return self._content


class Matcher:
    """Conditions, ready to be held against many files of one archive."""

    def __init__(self, when: Conditions) -> None:
        self._least = when.size_at_least or 0
        self._below = when.size_below
        self._old = None if when.age_at_least is None else when.age_at_least * _SECOND
        self._young = None if when.age_below is None else when.age_below * _SECOND
        self._paths = Excludes(when.path) if when.path else None
        self._types = types_matching(when.content) if when.content else None

    def match(self, facts: Facts) -> bool:
        """Say whether all conditions on files hold; the archive's name is not asked for."""
        if facts.size < self._least or (self._below is not None and facts.size >= self._below):
            return False
        if self._old is not None and facts.age_ns < self._old:
            return False
        if self._young is not None and facts.age_ns >= self._young:
            return False
        if self._paths is not None and not self._paths.match(facts.directory, facts.name):
            return False
        return self._types is None or facts.content in self._types


def types_matching(patterns: Iterable[str]) -> frozenset[str]:
    """Return the content types that one of the patterns fits."""
    return frozenset().union(*map(_types, patterns))


@cache
def _types(pattern: str) -> frozenset[str]:
    fits = re.compile(fnmatch.translate(pattern)).match
    return frozenset(one for one in TYPES if fits(one))
