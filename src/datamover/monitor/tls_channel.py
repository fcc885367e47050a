"""Bytes to and from a peer through TLS, never waiting.

Source: docs/spec/control-protocol.md, section 1; SPEC U7; DESIGN D14.
"""

from __future__ import annotations

import ssl
from typing import Final

__all__ = ["TlsChannel"]

_AT_ONCE: Final = 256 << 10


class TlsChannel:
    """A socket whose handshake is done; it becomes this object's.  See ``channel.Channel``."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        connection.setblocking(False)

    def fileno(self) -> int:
        """See ``Channel``."""
        return self._connection.fileno()

    def write_fileno(self) -> int:
        """See ``Channel``."""
        return self._connection.fileno()

    def read(self) -> bytes | None:
        """See ``Channel``."""
        try:
            return self._connection.recv(_AT_ONCE)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def write(self, data: memoryview) -> int:
        """See ``Channel``."""
        try:
            return self._connection.send(data[:_AT_ONCE])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def close(self) -> str:
        """See ``Channel``; never blocks."""
        self._connection.close()
        return ""
