"""Where a machine answers: a host and a port.

Source: docs/spec/trust.md, section 5; RFC 3986, 3.2.2 (brackets around IPv6).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from datamover.errors import UsageError

__all__ = ["DEFAULT_PORT", "Address"]

DEFAULT_PORT: Final = 4747

_LONGEST: Final = 245  # with brackets and a port it still fits a byte
_PORTS: Final = 65535
_TEXT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([A-Za-z0-9_.-]+))(?::(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Address:
    """A host (name, IPv4 or IPv6 address) and a TCP port."""

    host: str
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST``, ``HOST:PORT``, ``[IPv6]`` or ``[IPv6]:PORT``.

        Raises:
            UsageError: It is none of them.
        """
        found = _TEXT.fullmatch(text) if len(text) <= _LONGEST and text.isascii() else None
        port = int(found[3] or DEFAULT_PORT) if found else 0
        if not found or not 0 < port <= _PORTS or (found[2] or "").startswith("-"):
            raise UsageError(reason=f"not an address: {text[:80]!r}, use HOST:PORT")
        return cls(found[1] or found[2], port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
