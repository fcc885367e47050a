"""A secret of a few bytes in a stage's settings, as hexadecimal digits.

Source: docs/spec/attach-abi.md, section 2.
"""

from __future__ import annotations

from typing import Final

from datamover.errors import UsageError

__all__ = ["read_token"]

_SIZE: Final = 16


def read_token(text: str) -> bytes:
    """Return the token; zeros where the text is empty.

    Raises:
        UsageError: It is no token.
    """
    try:
        token = bytes.fromhex(text) if text else bytes(_SIZE)
    except ValueError:
        token = b""
    if len(token) != _SIZE:
        raise UsageError(reason=f"token: not {2 * _SIZE} hexadecimal digits")
    return token
