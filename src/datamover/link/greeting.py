"""How two sides of a border open a path: a hello, and a hello that answers it.

No sockets: whoever dials or accepts moves the 64 bytes.

Source: docs/spec/link-protocol.md, 2; DESIGN D8.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from datamover.errors import DataMoverError, PeerRefusedError
from datamover.link.channel import shut
from datamover.link.seal import Direction, Side, derive_key, proof_fits, proved
from datamover.wire.frame import Hello, Protection, decode_hello

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Agreement",
    "Asked",
    "Carrier",
    "Opened",
    "Terms",
    "answer",
    "ask",
    "conclude",
    "reason_of",
]

_NONCE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What both sides of a border know, and what this one can take.

    Attributes:
        token: Of the border; public.
        secret: Of the border.
        protection: Of its frames.
        paths: How many there are.
        buffer_size: Bytes that this side's buffers hold.
    """

    token: bytes
    secret: bytes = field(repr=False)
    protection: Protection
    paths: int
    buffer_size: int


class Agreement(NamedTuple):
    """What a path's two hellos agreed on; keys are in no log."""

    path: int
    data_key: bytes
    back_key: bytes
    peer_buffer_size: int


class Carrier(NamedTuple):
    """What a path runs over.

    Attributes:
        reader: Descriptor to read from.
        writer: Descriptor to write to; the same one, for a socket.
        name: What a person calls it.
        release: Ends what stands behind the descriptors (a remote shell); called last.
    """

    reader: int
    writer: int
    name: str
    release: Callable[[], None]

    def close(self) -> None:
        """Close the descriptors, then what stands behind them; the other side sees it at once."""
        for one in {self.reader, self.writer}:
            # Whoever handed it over may still have a duplicate, which would keep it open.
            shut(one)
            os.close(one)
        self.release()


class Opened(NamedTuple):
    """A path that is open: both hellos have been said and proved."""

    carrier: Carrier
    agreed: Agreement


class Asked(NamedTuple):
    """A hello that waits for its answer."""

    data: bytes
    path: int
    nonce: bytes


def ask(terms: Terms, path: int) -> Asked:
    """Make the hello with which a path is dialed."""
    nonce = os.urandom(_NONCE)
    hello = Hello(terms.protection, path, terms.token, nonce, terms.buffer_size)
    return Asked(proved(terms.secret, Side.DIAL, hello), path, nonce)


def conclude(terms: Terms, asked: Asked, data: bytes) -> Agreement:
    """Judge the answer to a hello.

    Raises:
        FormatError: It is no hello.
        PeerRefusedError: It is of another border, or not proved.
    """
    hello = decode_hello(data)
    _agree(terms, hello)
    if hello.path != asked.path:
        raise _refused(terms, f"answers for path {hello.path} on path {asked.path}")
    if not proof_fits(terms.secret, Side.ACCEPT, data, answers=asked.data):
        raise _refused(terms, "the answer is not proved: the other side has another secret")
    return _agreement(terms, hello, dialer=asked.nonce, acceptor=hello.nonce)


def answer(terms: Terms, data: bytes, seen: set[bytes]) -> tuple[bytes, Agreement]:
    """Judge a hello that came, and make the answer.

    Args:
        terms: This side's.
        data: What came.
        seen: Nonces of hellos that came before, to which this one's is added: one that was
            recorded opens nothing a second time.

    Raises:
        FormatError: It is no hello.
        PeerRefusedError: It is of another border, not proved, or came before.
    """
    hello = decode_hello(data)
    _agree(terms, hello)
    if not proof_fits(terms.secret, Side.DIAL, data):
        raise _refused(terms, "the hello is not proved: the other side has another secret")
    if hello.nonce in seen:
        raise _refused(terms, "the hello came before")
    seen.add(hello.nonce)
    nonce = os.urandom(_NONCE)
    mine = Hello(terms.protection, hello.path, terms.token, nonce, terms.buffer_size)
    said = proved(terms.secret, Side.ACCEPT, mine, answers=data)
    return said, _agreement(terms, hello, dialer=hello.nonce, acceptor=nonce)


def reason_of(error: Exception) -> str:
    """Say in one line why a path did not open."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) if isinstance(error, DataMoverError) else repr(error)


def _agree(terms: Terms, hello: Hello) -> None:
    if hello.token != terms.token:
        raise _refused(terms, "the token is another border's")
    if hello.protection is not terms.protection:
        raise _refused(
            terms,
            f"protection is {hello.protection.name.lower()} there, "
            f"{terms.protection.name.lower()} here",
        )
    if hello.path >= terms.paths:
        raise _refused(terms, f"path {hello.path} of {terms.paths}")


def _agreement(terms: Terms, hello: Hello, *, dialer: bytes, acceptor: bytes) -> Agreement:
    def key(direction: Direction) -> bytes:
        return derive_key(
            terms.secret, dialer=dialer, acceptor=acceptor, path=hello.path, direction=direction
        )

    return Agreement(hello.path, key(Direction.DATA), key(Direction.BACK), hello.buffer_size)


def _refused(terms: Terms, reason: str) -> PeerRefusedError:
    return PeerRefusedError(peer=f"border {terms.token.hex()[:8]}", reason=reason)
