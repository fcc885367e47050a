"""What is logged: one line an event, with fields, and nothing of a peer that is not harmless.

Source: docs/spec/trust.md, section 10; DESIGN D14.
"""

from __future__ import annotations

import logging
from typing import Final

__all__ = ["LOGGER", "Fields", "tell", "warn"]

LOGGER: Final = logging.getLogger("datamover.link")

_LONGEST: Final = 200


def tell(event: str, /, **fields: object) -> None:
    """Log that something went as it should."""
    LOGGER.info("%s%s", event, Fields(fields))


def warn(event: str, /, **fields: object) -> None:
    """Log that something was refused."""
    LOGGER.warning("%s%s", event, Fields(fields))


class Fields:
    """What an event is about; written only if somebody listens."""

    def __init__(self, fields: dict[str, object]) -> None:
        self._fields = fields

    def plain(self) -> dict[str, str | int | float | bool]:
        """Return the same for a program that reads the log."""
        return {
            name: value if isinstance(value, int | float) else _harmless(value)
            for name, value in self._fields.items()
        }

    def __str__(self) -> str:
        return "".join(f" {name}={_harmless(value)}" for name, value in self._fields.items())


def _harmless(value: object) -> str:
    """Return a value on one line, quoted where it has spaces; control characters escaped."""
    text = str(value)[:_LONGEST]
    return (
        text
        if text.isascii() and text.isprintable() and not set(text) & set(" \"='\\") and text
        else ascii(text)
    )
