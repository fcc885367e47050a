"""A peer that shares no code with the program: the link protocol, from its specification alone.

It stands for a release in another language on a machine of the other byte order: whatever it keeps,
it keeps big-endian, and what goes over the wire is put together byte by byte.

Source: docs/spec/link-protocol.md, 2 to 5; SPEC N4.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["OtherPeer", "checksum", "little", "number"]

_KEPT = struct.Struct(">QQ")
_POLYNOMIAL = 0x82F63B78
_CLEAR, _SEALED = 0, 1


def little(value: int, size: int) -> bytes:
    """Return a number's bytes, the lowest first."""
    return bytes(value >> (8 * place) & 0xFF for place in range(size))


def number(data: bytes) -> int:
    """Return the number whose lowest byte is the first."""
    value = 0
    for byte in reversed(data):
        value = value << 8 | byte
    return value


def _column(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(map(_column, range(256)))


def checksum(data: bytes) -> int:
    """CRC-32C, byte by byte, as RFC 3720 defines it."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869, for a key of one block."""
    key = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(key, info + b"\x01", hashlib.sha256).digest()


class OtherPeer:
    """One side of a border with one path, over a socket; every method blocks."""

    def __init__(
        self,
        token: bytes,
        secret: bytes,
        *,
        sends: bool = True,
        protection: int = _CLEAR,
        path: int = 0,
        buffer_size: int = 1000,
    ) -> None:
        self._token = token
        self._secret = secret
        self._protection = protection
        self._path = path
        self._buffer_size = buffer_size
        self._out, self._in = ("data", "back") if sends else ("back", "data")
        self._counted = _KEPT.pack(0, 0)
        self._keys: dict[str, AESGCM] = {}
        self.connection: socket.socket
        """Once it has dialed or accepted."""

    # ---- hellos

    def dial(self, address: str) -> None:
        """Connect and agree."""
        host, _, port = address.rpartition(":")
        self.begin(socket.create_connection((host, int(port)), timeout=10))

    def begin(self, connection: socket.socket) -> None:
        """Agree, as the side that dials, on what leads to the other side already."""
        self.connection = connection
        nonce = os.urandom(16)
        mine = self.hello(b"dial", nonce, b"")
        self.connection.sendall(mine)
        theirs = self.take(64)
        assert theirs[:8] == b"DMPH\x01" + little(self._protection, 1) + little(self._path, 2)
        assert theirs[48:] == self._proof(b"accept", theirs[:48], mine)
        self._derive(nonce, theirs[24:40])

    def accept(self, listener: socket.socket) -> None:
        """Take a connection in and agree."""
        self.connection, _ = listener.accept()
        self.connection.settimeout(10)
        theirs = self.take(64)
        assert theirs[48:] == self._proof(b"dial", theirs[:48], b"")
        nonce = os.urandom(16)
        self.connection.sendall(self.hello(b"accept", nonce, theirs))
        self._derive(theirs[24:40], nonce)

    def hello(self, role: bytes, nonce: bytes, answers: bytes) -> bytes:
        """Return a hello."""
        fields = b"DMPH\x01" + little(self._protection, 1) + little(self._path, 2)
        fields += self._token + nonce + little(self._buffer_size, 4) + bytes(4)
        return fields + self._proof(role, fields, answers)

    def _proof(self, role: bytes, fields: bytes, answers: bytes) -> bytes:
        return hmac.new(self._secret, role + fields + answers, hashlib.sha256).digest()[:16]

    def _derive(self, dialer: bytes, acceptor: bytes) -> None:
        for direction in ("data", "back"):
            info = b"datamover path v1" + little(self._path, 2) + direction.encode()
            self._keys[direction] = AESGCM(_hkdf(self._secret, dialer + acceptor, info))

    # ---- frames

    def send(
        self,
        kind: int,
        *,
        sequence: int = 0,
        received: int = 0,
        tag: bytes = b"",
        payload: bytes = b"",
        flags: int = 0,
        stamp: int = 0,
        **wrong: int,
    ) -> None:
        """Send a frame; ``wrong`` replaces fields: used, tag_used, counter, check, header_check."""
        counter, heard = _KEPT.unpack(self._counted)
        self._counted = _KEPT.pack(counter + 1, heard)
        body = tag + payload
        is_clear = self._protection == _CLEAR
        header = b"DMFR" + little(kind, 1) + little(flags, 1)
        header += little(wrong.get("tag_used", len(tag)), 2)
        header += little(wrong.get("counter", counter), 8)
        header += little(sequence, 8) + little(received, 8)
        header += little(wrong.get("used", len(payload)), 4) + little(stamp, 4)
        header += little(wrong.get("check", checksum(body) if is_clear else 0), 4)
        header += little(wrong.get("header_check", checksum(header)), 4)
        if not is_clear:
            nonce = bytes(4) + little(counter, 8)
            body = self._keys[self._out].encrypt(nonce, body, header)
        self.connection.sendall(header + body)

    def hear(self) -> dict[str, int | bytes]:
        """Take the next frame, checked."""
        header = self.take(48)
        assert header[:4] == b"DMFR", header
        assert number(header[44:]) == checksum(header[:44])
        counter, heard = _KEPT.unpack(self._counted)
        assert number(header[8:16]) == heard
        self._counted = _KEPT.pack(counter, heard + 1)
        tag_used, used = number(header[6:8]), number(header[32:36])
        body = self.take(tag_used + used + (16 if self._protection else 0))
        if self._protection == _CLEAR:
            assert checksum(body) == number(header[40:44])
        else:
            body = self._keys[self._in].decrypt(bytes(4) + header[8:16], body, header)
        return {
            "kind": header[4],
            "sequence": number(header[16:24]),
            "received": number(header[24:32]),
            "stamp": number(header[36:40]),
            "tag": body[:tag_used],
            "payload": body[tag_used:],
        }

    def take(self, size: int) -> bytes:
        """Read so many bytes; EOFError: the connection was closed."""
        data = b""
        while len(data) < size:
            more = self.connection.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def wait_for_the_end(self) -> None:
        """Read until the other side closes."""
        while True:
            try:
                if not self.connection.recv(1 << 16):
                    return
            except ConnectionResetError:
                return
