"""The text that invites a machine: where to, whom to trust, and a secret.

Source: docs/spec/trust.md, section 5; SPEC issue "Trust"; DESIGN D14.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass, field
from typing import Final, Self

from datamover.errors import TokenError, UsageError
from datamover.link.address import Address
from datamover.wire.crc import crc32c

__all__ = ["FINGERPRINT_SIZE", "FLEET_SIZE", "INVITATION_SIZE", "SECRET_SIZE", "Token"]

INVITATION_SIZE: Final = 8
FLEET_SIZE: Final = 16
FINGERPRINT_SIZE: Final = 32
SECRET_SIZE: Final = 16

_PREFIX: Final = "dmi1_"
_VERSION: Final = 1
_LONGEST: Final = 4096
_ADDRESSES: Final = 8
_HEAD: Final = struct.Struct("<B8s16s32s16sB")
_CHECK: Final = struct.Struct("<I")
_LETTERS: Final = re.compile(r"[A-Za-z0-9_-]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token says.

    Attributes:
        invitation: 8 bytes; public.
        fleet: 16 bytes.
        fingerprint: SHA-256 of the authority's certificate.
        secret: 16 bytes; never shown.
        addresses: Where the authority answers, best first.
    """

    invitation: bytes
    fleet: bytes
    fingerprint: bytes
    secret: bytes = field(repr=False)
    addresses: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        if len(self.addresses) > _ADDRESSES:
            raise UsageError(reason=f"a token has room for {_ADDRESSES} addresses")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a token.

        Raises:
            TokenError: It is none, or was copied badly; the message does not repeat it.
        """
        data = _bytes(text.strip())
        (claimed,) = _CHECK.unpack_from(data, len(data) - _CHECK.size)
        body = data[: -_CHECK.size]
        if crc32c(body) != claimed:
            raise TokenError(reason="the token was not copied whole")
        version, invitation, fleet, fingerprint, secret, count = _HEAD.unpack_from(body)
        if version != _VERSION:
            raise TokenError(reason=f"the token is of version {version}, not {_VERSION}")
        return cls(
            invitation=invitation,
            fleet=fleet,
            fingerprint=fingerprint,
            secret=secret,
            addresses=_addresses(body[_HEAD.size :], count),
        )

    def text(self) -> str:
        """Return the token as it is given to a person; a secret."""
        body = _HEAD.pack(
            _VERSION,
            self.invitation,
            self.fleet,
            self.fingerprint,
            self.secret,
            len(self.addresses),
        )
        for address in self.addresses:
            told = str(address).encode("ascii")
            body += bytes([len(told)]) + told
        body += _CHECK.pack(crc32c(body))
        return _PREFIX + base64.urlsafe_b64encode(body).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    letters = text.removeprefix(_PREFIX)
    if len(text) > _LONGEST or letters == text or not _LETTERS.match(letters):
        raise TokenError(reason=f"this is no token: one begins with {_PREFIX}")
    try:
        data = base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
    except binascii.Error:
        raise TokenError(reason="the token was not copied whole") from None
    if len(data) < _HEAD.size + _CHECK.size:
        raise TokenError(reason="the token was not copied whole")
    return data


def _addresses(data: bytes, count: int) -> tuple[Address, ...]:
    found = []
    at = 0
    for _ in range(count):
        length = data[at] if at < len(data) else len(data)
        told = data[at + 1 : at + 1 + length]
        if count > _ADDRESSES or len(told) != length:
            raise TokenError(reason="the token's addresses are malformed")
        found.append(_address(told))
        at += 1 + length
    if at != len(data):
        raise TokenError(reason="the token's addresses are malformed")
    return tuple(found)


def _address(told: bytes) -> Address:
    try:
        return Address.parse(told.decode("ascii"))
    except (UnicodeDecodeError, UsageError):
        raise TokenError(reason="the token's addresses are malformed") from None
