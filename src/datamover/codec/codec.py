"""Codec: a compression as a person writes it, "zstd-9" or "none".

Source: SPEC G5, F8; docs/reference/cli.md, "backup".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.codec import gzip, lz4, zstd
from datamover.errors import UsageError
from datamover.wire.tag import TransformId

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Codec"]

_NONE: Final = "none"
_LEVELS: Final[Mapping[str, range]] = {
    "zstd": zstd.LEVELS,
    "lz4": lz4.LEVELS,
    "gzip": gzip.LEVELS,
    _NONE: range(1),
}
_IDS: Final[Mapping[str, TransformId]] = {
    "zstd": TransformId.ZSTD,
    "lz4": TransformId.LZ4,
    "gzip": TransformId.GZIP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A compression: "zstd-1", "gzip-2", "lz4" or "none"."""

    name: str
    level: int

    @classmethod
    def parse(cls, text: str) -> Codec:
        """Read it as a person writes it.

        Raises:
            UsageError: There is no such codec, or it has no such level.
        """
        match = re.fullmatch(r"([a-z0-9]+?)(?:-(\d{1,2}))?", text)
        name = match[1] if match else ""
        levels = _LEVELS.get(name)
        if match is None or levels is None:
            raise UsageError(
                reason=f"no codec {text!r:.60}; there are zstd-1 to zstd-19, "
                "gzip-1 to gzip-3, lz4-1 to lz4-12 and none"
            )
        level = int(match[2]) if match[2] else levels.start
        if level not in levels:
            raise UsageError(
                reason=f"{name} has the levels {levels.start} to {levels.stop - 1}, not {level}"
            )
        return cls(name=name, level=level)

    @property
    def transform(self) -> TransformId | None:
        """What the tag of a block says that it compressed; None for "none"."""
        return _IDS.get(self.name)

    def __str__(self) -> str:
        return self.name if self.name == _NONE else f"{self.name}-{self.level}"
