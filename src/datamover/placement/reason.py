"""Reasons: why a rule decided, and what a rule says, in words for people.

Source: docs/spec/placement.md, section 2; issue 4, "Placement".
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Final

from datamover.files.exclude import Excludes
from datamover.placement.matching import types_matching
from datamover.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from datamover.placement.decision import Settled, Value
    from datamover.placement.matching import Facts
    from datamover.placement.rule import Conditions

__all__ = ["reason_of", "value_text", "when_text"]

_DAY: Final = 86400
_UNITS: Final = ((_DAY, "d"), (3600, "h"), (60, "m"), (1, "s"))
_NANO: Final = 10**9
_BY: Final = {
    "command": "the command says so",
    "mover": "nobody says otherwise",
    "default": "no rule before it says otherwise",
}


def reason_of(settled: Settled, facts: Facts | None, archive: str) -> str:
    """Return why this was decided, with the facts that the rule asked for."""
    if settled.rule is None or settled.by == "default":
        return _BY[settled.by]
    when = settled.rule.when
    parts: list[str] = []
    if facts is not None:
        if when.content:
            fits = [one for one in when.content if facts.content in types_matching((one,))]
            parts.append(f"content {facts.content} fits {_listed(fits)}")
        if when.path:
            path = facts.directory, facts.name
            parts.append(
                f"path fits {_listed([p for p in when.path if Excludes((p,)).match(*path)])}"
            )
        if when.size_at_least is not None or when.size_below is not None:
            bounds = _bounds(when.size_at_least, when.size_below, value_text)
            parts.append(f"size {facts.size} is {bounds}")
        if when.age_at_least is not None or when.age_below is not None:
            bounds = _bounds(when.age_at_least, when.age_below, _age_text)
            parts.append(f"age {_age_text(facts.age_ns // _NANO)} is {bounds}")
    if when.archive:
        fits = [one for one in when.archive if fnmatch.fnmatchcase(archive, one)]
        parts.append(f"archive {archive!r} fits {_listed(fits)}")
    return "; ".join(parts) or "it holds for everything"


def when_text(when: Conditions) -> str:
    """Return the conditions of a rule on one line."""
    parts = [
        f"{key} {_listed(patterns)}"
        for key, patterns in (
            ("content", when.content),
            ("path", when.path),
            ("archive", when.archive),
        )
        if patterns
    ]
    if when.size_at_least is not None or when.size_below is not None:
        parts.append(f"size {_bounds(when.size_at_least, when.size_below, value_text)}")
    if when.age_at_least is not None or when.age_below is not None:
        parts.append(f"age {_bounds(when.age_at_least, when.age_below, _age_text)}")
    return "; ".join(parts) or "everything"


def value_text(value: Value) -> str:
    """Return what was decided as a rule file says it."""
    if isinstance(value, str):
        return value
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if value and value % unit == 0:
            return f"{value // unit}{name}"
    return str(value)


def _bounds(least: int | None, below: int | None, said: Callable[[int], str]) -> str:
    parts = [f"at least {said(least)}"] if least is not None else []
    parts += [f"below {said(below)}"] if below is not None else []
    return " and ".join(parts)


def _age_text(seconds: int) -> str:
    """Return a time in the largest unit that it fills."""
    for unit, name in _UNITS:
        if abs(seconds) >= unit:
            is_whole = seconds % unit == 0
            return f"{seconds // unit}{name}" if is_whole else f"{seconds / unit:.1f}{name}"
    return "0s"


def _listed(patterns: Sequence[str]) -> str:
    return ", ".join(patterns)
