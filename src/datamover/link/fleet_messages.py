"""What a joining machine and the authority say, as bytes.

    magic (4) | version (1) | type (1) | length (2) | body: a MessagePack map

Source: docs/spec/trust.md, section 6.
"""

from __future__ import annotations

import struct
from typing import Annotated, Final

import msgspec

from datamover.errors import MagicError, MalformedError, VersionError
from datamover.link.proof import NONCE_SIZE, PROOF_SIZE
from datamover.link.token import FLEET_SIZE, INVITATION_SIZE

__all__ = [
    "BODY_MOST",
    "Enrol",
    "Enrolled",
    "FleetMessage",
    "Greet",
    "Greeting",
    "Inbox",
    "Refresh",
    "Refreshed",
    "Refused",
    "Renew",
    "encode",
]

BODY_MOST: Final = 16_384
"""Bytes of a body."""

_HEAD: Final = struct.Struct("<4sBBH")
_MAGIC: Final = b"DMFL"
_VERSION: Final = 1
_WHAT: Final = "fleet message"
_CERTIFICATE_MOST: Final = 8_192

_Nonce = Annotated[bytes, msgspec.Meta(min_length=NONCE_SIZE, max_length=NONCE_SIZE)]
_Fleet = Annotated[bytes, msgspec.Meta(min_length=FLEET_SIZE, max_length=FLEET_SIZE)]
_Invitation = Annotated[bytes, msgspec.Meta(min_length=INVITATION_SIZE, max_length=INVITATION_SIZE)]
_Proof = Annotated[bytes, msgspec.Meta(min_length=PROOF_SIZE, max_length=PROOF_SIZE)]
_Der = Annotated[bytes, msgspec.Meta(max_length=_CERTIFICATE_MOST)]
_Name = Annotated[str, msgspec.Meta(max_length=253)]


class Greet(msgspec.Struct, frozen=True, kw_only=True):
    """The client begins."""

    nonce: _Nonce


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """The server says which fleet it is of; nothing of it is to be believed yet."""

    nonce: _Nonce
    fleet: _Fleet
    authority: _Der


class Enrol(msgspec.Struct, frozen=True, kw_only=True):
    """The client wants to be a member, and proves that it was invited."""

    invitation: _Invitation
    request: _Der
    name: _Name = ""
    host: _Name = ""
    proof: _Proof


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """The client is a member."""

    certificate: _Der
    revoked: bytes


class Renew(msgspec.Struct, frozen=True, kw_only=True):
    """A member wants a new certificate."""

    request: _Der


class Refresh(msgspec.Struct, frozen=True, kw_only=True):
    """A member wants the revocation list."""


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """The revocation list of now."""

    revoked: bytes


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """It was not done, and why: an error as plain values."""

    code: Annotated[str, msgspec.Meta(max_length=64)]
    facts: dict[str, str | int | float | bool | None] = {}


FleetMessage = Greet | Greeting | Enrol | Enrolled | Renew | Refresh | Refreshed | Refused

_TYPES: Final[dict[int, type[FleetMessage]]] = {
    1: Greet,
    2: Greeting,
    3: Enrol,
    4: Enrolled,
    5: Renew,
    6: Refresh,
    7: Refreshed,
    8: Refused,
}
_NUMBERS: Final = {kind: number for number, kind in _TYPES.items()}


def encode(message: FleetMessage) -> bytes:
    """Return a message as bytes.

    Raises:
        MalformedError: It is longer than a message may be.
    """
    body = msgspec.msgpack.encode(message)
    if len(body) > BODY_MOST:
        raise MalformedError(what=_WHAT, reason=f"{len(body)} bytes, at most {BODY_MOST}")
    return _HEAD.pack(_MAGIC, _VERSION, _NUMBERS[type(message)], len(body)) + body


class Inbox:
    """Bytes as they come, messages as they are whole.

    It holds one message at most: a head is judged before its body is waited for.  After an error
    it is of no more use.
    """

    def __init__(self) -> None:
        self._data = bytearray()

    def __len__(self) -> int:
        """Bytes that wait for the rest of their message."""
        return len(self._data)

    def receive(self, data: bytes) -> list[FleetMessage]:
        """Take bytes and return the messages that they complete.

        Raises:
            MagicError: This is another protocol.
            VersionError: A newer release's.
            MalformedError: A message breaks a rule, or is of no known type.
        """
        self._data += data
        found: list[FleetMessage] = []
        while (length := self._length()) is not None and len(self._data) >= _HEAD.size + length:
            body = bytes(self._data[_HEAD.size : _HEAD.size + length])
            found.append(_decode(self._data[5], body))
            del self._data[: _HEAD.size + length]
        return found

    def _length(self) -> int | None:
        if bytes(self._data[:4]) != _MAGIC[: len(self._data)]:
            raise MagicError(what=_WHAT, found=self._data[:4].hex())
        if len(self._data) < _HEAD.size:
            return None
        _, version, kind, length = _HEAD.unpack_from(self._data)
        if version != _VERSION:
            raise VersionError(what=_WHAT, found=version, newest=_VERSION)
        if kind not in _TYPES:
            raise MalformedError(what=_WHAT, reason=f"type {kind} is not known")
        if length > BODY_MOST:
            raise MalformedError(what=_WHAT, reason=f"{length} bytes, at most {BODY_MOST}")
        return int(length)


def _decode(kind: int, body: bytes) -> FleetMessage:
    try:
        return msgspec.msgpack.decode(body, type=_TYPES[kind])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(what=_WHAT, reason=str(error)) from None
