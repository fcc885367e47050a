"""Options records: how what follows is to be handled, told between two blocks.

An options record follows a tag's payload and holds until the next one, or the end of the chunk.
After a tag of no payload it stands alone.

Source: docs/spec/wire-format.md, "Options"; seed FIG. 13 (1366, 1368); SPEC H9.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final, Self

from datamover.wire.extension import Extension
from datamover.wire.record import CRC_SIZE, PRELUDE, build, check, rest

__all__ = ["OptionId", "OptionsHeader"]

_WHAT: Final = "options header"


class OptionId(IntEnum):
    """What an option asks for; unknown ones are carried on."""

    MEDIUM = 1
    """The name of the medium for what follows, UTF-8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionsHeader:
    """Asks for something; the prelude, extensions and the CRC are all there is.

    Attributes:
        options: In order; a later one of the same id wins.
    """

    MAGIC: ClassVar[bytes] = b"DMop"

    options: tuple[Extension, ...] = ()

    def encode(self) -> bytes:
        """Return the header.

        Raises:
            MalformedError: The options do not fit.
        """
        return build(self.MAGIC, _WHAT, body=b"", extensions=self.options)

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read a header from the start of ``data``.

        Raises:
            FormatError: As ``record.check`` says.
        """
        size = check(data, magic=cls.MAGIC, what=_WHAT, least=PRELUDE.size + CRC_SIZE)
        return cls(options=rest(data, size, PRELUDE.size))

    def medium(self) -> str | None:
        """Return the name of the medium that is asked for, if any."""
        names = [item.value for item in self.options if item.id == OptionId.MEDIUM]
        return names[-1].decode("utf-8", "surrogateescape") if names else None
