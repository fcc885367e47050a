"""Keys, proofs and seals of a path: what makes a connection the one that was meant.

    border's secret ──HKDF── dialer's nonce, acceptor's nonce, path, direction ──▶ key
    key, counter of the frame ──▶ AES-256-GCM, or GMAC alone

A key serves one direction of one connection, and the counter never repeats within it, so no nonce
is used twice.  No clock, no sockets.

Source: docs/spec/link-protocol.md, 2 and 3; NIST SP 800-38D; RFC 5869; DESIGN D8, D10.
"""

from __future__ import annotations

import hmac
import struct
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from datamover.errors import CorruptError, MalformedError, SealError
from datamover.wire.crc import crc32c
from datamover.wire.frame import (
    FRAME_SIZE,
    MARGIN,
    PROOF_AT,
    SEAL_SIZE,
    TAG_MOST,
    Frame,
    Kind,
    Protection,
    encode_frame,
    encode_hello,
)

if TYPE_CHECKING:
    from datamover.wire.frame import Hello

__all__ = ["Direction", "Opener", "Sealer", "Side", "derive_key", "proof_fits", "proved"]

_KEY: Final = 32
_PROOF: Final = 16
_INFO: Final = b"datamover path v1"
_NONCE: Final = struct.Struct("<4xQ")
_PATH: Final = struct.Struct("<H")
_WHAT: Final = "frame"


class Side(StrEnum):
    """Who says a hello."""

    DIAL = "dial"
    ACCEPT = "accept"


class Direction(StrEnum):
    """Which way frames go: with the data, or back."""

    DATA = "data"
    BACK = "back"


def proved(secret: bytes, side: Side, hello: Hello, *, answers: bytes = b"") -> bytes:
    """Return the hello's 64 bytes, with the proof that whoever says it knows the secret.

    Args:
        secret: The border's.
        side: Who says it.
        hello: What it says; its proof is ignored.
        answers: The dialing side's hello, where this one answers it.
    """
    data = encode_hello(hello)[:PROOF_AT]
    return data + _proof(secret, side, data, answers)


def proof_fits(secret: bytes, side: Side, data: bytes, *, answers: bytes = b"") -> bool:
    """Return whether a received hello was made by somebody who knows the secret."""
    return hmac.compare_digest(_proof(secret, side, data[:PROOF_AT], answers), data[PROOF_AT:])


def derive_key(
    secret: bytes, *, dialer: bytes, acceptor: bytes, path: int, direction: Direction
) -> bytes:
    """Return the key of one direction of one connection.

    Args:
        secret: The border's.
        dialer: The dialing side's nonce.
        acceptor: The accepting side's nonce.
        path: The path's number.
        direction: Which way the frames go.
    """
    info = _INFO + _PATH.pack(path) + direction.encode()
    return HKDF(SHA256(), _KEY, salt=dialer + acceptor, info=info).derive(secret)


class Sealer:
    """Makes frames for one direction of one connection.

    Attributes:
        counter: Frames that were made.
    """

    def __init__(self, protection: Protection, key: bytes, *, room: int = 0) -> None:
        """Begin.

        Args:
            protection: Of the border.
            key: Of this direction of this connection.
            room: The longest payload; an area for sealed copies is made, of that size.
        """
        self.counter = 0
        self._protection = protection
        self._key = key
        self._aead = AESGCM(key)
        sealed = protection is Protection.SEALED and room
        size = FRAME_SIZE + TAG_MOST + room + SEAL_SIZE if sealed else 0
        self._scratch = memoryview(bytearray(size))

    def small(self, kind: Kind, *, sequence: int = 0, received: int = 0, stamp: int = 0) -> bytes:
        """Return a whole frame that carries nothing."""
        frame = Frame(kind, self.counter, sequence, received, stamp=stamp)
        header = encode_frame(frame)
        self.counter += 1
        if self._protection is Protection.CLEAR:
            return header
        return header + self._aead.encrypt(_NONCE.pack(frame.counter), b"", header)

    def data(
        self, body: memoryview, *, sequence: int, tag_used: int, stamp: int, is_sealed: bool = False
    ) -> list[memoryview]:
        """Return the pieces of a whole DATA frame, to be written in order.

        Args:
            body: Tag and payload; they are only read, and must stay until the pieces are written.
            sequence: Number in the stream.
            tag_used: Bytes of the tag.
            stamp: The sender's clock.
            is_sealed: The payload was sealed for its store: it need not be hidden again.

        Ownership: what the pieces show is valid until the next call.
        """
        is_clear = self._protection is Protection.CLEAR
        hides = self._protection is Protection.SEALED and not is_sealed
        header = encode_frame(
            Frame(
                Kind.DATA,
                self.counter,
                sequence,
                tag_used=tag_used,
                used=len(body) - tag_used,
                stamp=stamp,
                check=crc32c(body) if is_clear else 0,
                is_authenticated=not is_clear and not hides,
            )
        )
        nonce = _NONCE.pack(self.counter)
        self.counter += 1
        if is_clear:
            return [memoryview(header), body]
        if not hides:
            return [memoryview(header), body, memoryview(_gmac(self._key, nonce, header, body))]
        end = FRAME_SIZE + len(body) + SEAL_SIZE
        out = self._scratch[:end]
        out[:FRAME_SIZE] = header
        self._aead.encrypt_into(nonce, body, header, out[FRAME_SIZE:])
        return [out]


class Opener:
    """Checks frames of one direction of one connection.

    Attributes:
        seal_size: Bytes that follow each frame's payload.
    """

    def __init__(self, protection: Protection, key: bytes) -> None:
        self.seal_size = 0 if protection is Protection.CLEAR else int(SEAL_SIZE)
        self._protection = protection
        self._key = key
        self._aead = AESGCM(key)

    def most(self, buffer_size: int) -> int:
        """Bytes of payload for which a slot of a segment with this buffer size has room."""
        return buffer_size + MARGIN

    def check(self, frame: Frame, header: bytes, body: memoryview) -> None:
        """Check a whole frame; what was hidden is then readable in its place.

        Args:
            frame: The header, decoded.
            header: The header's bytes, as they came.
            body: Tag, payload and, ``seal_size`` bytes, the seal.

        Raises:
            CorruptError: The checksum does not match.
            SealError: The seal does not match; the bytes mean nothing and reach nobody.
            MalformedError: The payload is hidden less than the border promises.
        """
        if self._protection is Protection.CLEAR:
            if (actual := crc32c(body)) != frame.check:
                raise CorruptError(what=_WHAT, expected=frame.check, actual=actual)
            return
        nonce = _NONCE.pack(frame.counter)
        end = len(body) - SEAL_SIZE
        try:
            if frame.is_authenticated:
                _check_gmac(self._key, nonce, header, body)
            elif self._protection is Protection.AUTHENTICATED and end:
                raise MalformedError(what=_WHAT, reason="hidden, where the border hides nothing")
            else:
                self._aead.decrypt_into(nonce, body, header, body[:end])
        except InvalidTag:
            raise SealError(what=f"{_WHAT} {frame.counter}") from None


def _proof(secret: bytes, side: Side, data: bytes, answers: bytes) -> bytes:
    return hmac.digest(secret, side.encode() + data + answers, "sha256")[:_PROOF]


def _gmac(key: bytes, nonce: bytes, header: bytes, body: memoryview) -> bytes:
    maker = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    maker.authenticate_additional_data(header)
    maker.authenticate_additional_data(body)
    maker.finalize()
    return maker.tag


def _check_gmac(key: bytes, nonce: bytes, header: bytes, body: memoryview) -> None:
    end = len(body) - SEAL_SIZE
    checker = Cipher(algorithms.AES(key), modes.GCM(nonce, bytes(body[end:]))).decryptor()
    checker.authenticate_additional_data(header)
    checker.authenticate_additional_data(body[:end])
    checker.finalize()
