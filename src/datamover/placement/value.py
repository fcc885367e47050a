"""Values of a rule file: what stands behind each key, and how it is read.

Every reader raises ValueError with a reason; whoever calls it knows the line.

Source: docs/spec/placement.md, sections 2 and 3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from datamover.codec.codec import Codec
from datamover.codec.content import TYPES
from datamover.codec.registry import CIPHERS
from datamover.errors import UsageError
from datamover.pipe.spec import parse_size
from datamover.placement.matching import types_matching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CONDITIONS", "DECISIONS", "Decided", "name_of"]

_PATTERNS_MAX: Final = 256
_PATTERN_MAX: Final = 4096
_NAME_MAX: Final = 80
_SHOWN: Final = 60
_SIZE_MAX: Final = 1 << 63
_AGE: Final = re.compile(r"(\d{1,9})(s|m|h|d)", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Decided(NamedTuple):
    """One thing that a rule can decide.

    Attributes:
        read: Makes its value of what the file has.
        for_archive: It holds for all files of an archive.
    """

    read: Callable[[object], object]
    for_archive: bool = False


def name_of(value: object) -> str:
    """Read the name of a rule."""
    if not isinstance(value, str) or not 1 <= len(value) <= _NAME_MAX or not value.isprintable():
        raise ValueError(f"not a name of 1 to {_NAME_MAX} printable characters: {_shown(value)}")
    return value


def _patterns(value: object) -> tuple[str, ...]:
    """Read a pattern, or a list of them."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise ValueError(f"neither text nor a list of texts: {_shown(value)}")
    if not 1 <= len(given) <= _PATTERNS_MAX:
        raise ValueError(f"{len(given)} patterns, and there may be 1 to {_PATTERNS_MAX}")
    for one in given:
        if len(one) > _PATTERN_MAX:
            raise ValueError(f"a pattern of {len(one)} characters, {_PATTERN_MAX} are the most")
    return tuple(given)


def _paths(value: object) -> tuple[str, ...]:
    found = _patterns(value)
    for one in found:
        if not one.rstrip("/"):
            raise ValueError(f"the pattern {one!r} matches no file")
    return found


def _content(value: object) -> tuple[str, ...]:
    """Read patterns of content types, each of which must fit one."""
    found = _patterns(value)
    for one in found:
        if not types_matching((one,)):
            import difflib  # noqa: PLC0415 - for a slip of the pen

            near = difflib.get_close_matches(one[:_SHOWN], sorted(TYPES), n=3, cutoff=0.5)
            meant = f"; near it are {', '.join(near)}" if near else ""
            raise ValueError(f"no content type matches {_shown(one)}{meant}")
    return found


def _size(value: object) -> int:
    if isinstance(value, str):
        try:
            value = parse_size(value)
        except UsageError as error:
            raise ValueError(error.reason) from None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _SIZE_MAX:
        raise ValueError(f"no size: {_shown(value)}; write for example 4096 or '1MiB'")
    return value


def _size_above_zero(value: object) -> int:
    size = _size(value)
    if not size:
        raise ValueError("must be above 0")
    return size


def _age(value: object) -> int:
    found = _AGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"no age: {_shown(value)}; write for example '12h' or '7d'")
    return int(found[1]) * _UNITS[found[2]]


def _codec(value: object) -> str:
    try:
        return str(Codec.parse(str(value)))
    except UsageError as error:
        raise ValueError(error.reason) from None


def _cipher(value: object) -> str:
    if not isinstance(value, str) or value not in CIPHERS:
        raise ValueError(f"no cipher {_shown(value)}; there are {' and '.join(CIPHERS)}")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


CONDITIONS: Final[Mapping[str, Callable[[object], object]]] = {
    "content": _content,
    "path": _paths,
    "size_at_least": _size,
    "size_below": _size,
    "age_at_least": _age,
    "age_below": _age,
    "archive": _patterns,
}
"""The keys that ask something, as ``Conditions`` has them."""

DECISIONS: Final[Mapping[str, Decided]] = {
    "codec": Decided(_codec),
    "chunk_size": Decided(_size_above_zero, for_archive=True),
    "cipher": Decided(_cipher, for_archive=True),
}
"""The keys that decide something, as ``Rule`` has them."""
