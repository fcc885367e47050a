"""Authenticated ciphers, in place: a block is sealed where it lies.

Nonces are derived, never drawn: 96 bits of layer and block number, under a key that is fresh for
each archive.  The argument is in docs/spec/keys.md, "Nonces".

Source: docs/spec/keys.md; NIST SP 800-38D; RFC 8439; SPEC E3.
"""

from __future__ import annotations

import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from datamover.errors import SealError, TruncatedError, UsageError
from datamover.units import Bytes
from datamover.wire.tag import TransformId

__all__ = ["KEY_SIZE", "NONCE_SIZE", "SEAL_SIZE", "Cipher", "make_nonce"]

KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
SEAL_SIZE: Final = Bytes(16)

_NONCE: Final = struct.Struct("<IQ")
_WHAT: Final = "sealed block"


class Cipher:
    """AES-256-GCM or ChaCha20-Poly1305 under one key; the key is in no repr.

    Attributes:
        id: What the tag of a sealed block says.
    """

    __slots__ = ("_aead", "id")

    _aead: AESGCM | ChaCha20Poly1305

    def __init__(self, kind: TransformId, key: bytes) -> None:
        """Take the key in use.

        Raises:
            UsageError: ``key`` has not 32 bytes, or ``kind`` is not a cipher.
        """
        if len(key) != KEY_SIZE:
            raise UsageError(reason=f"a key has {KEY_SIZE} bytes, not {len(key)}")
        match kind:
            case TransformId.AES_256_GCM:
                self._aead = AESGCM(key)
            case TransformId.CHACHA20_POLY1305:
                self._aead = ChaCha20Poly1305(key)
            case _:
                raise UsageError(reason=f"not a cipher: {kind.name}")
        self.id = kind

    def seal(self, nonce: bytes, associated: bytes, data: memoryview, length: int) -> Bytes:
        """Encrypt ``data[:length]`` in place and write the seal behind it.

        Args:
            nonce: 12 bytes; never twice for different bytes under one key.
            associated: Authenticated beside the data, not stored here.
            data: Writable, at least ``length`` + 16 bytes.
            length: Bytes to encrypt.

        Returns:
            ``length`` + 16.

        Raises:
            TruncatedError: No room for the seal; nothing was changed.
        """
        end = Bytes(length + SEAL_SIZE)
        if end > len(data):
            raise TruncatedError(what=_WHAT, need=end, have=Bytes(len(data)))
        self._aead.encrypt_into(nonce, data[:length], associated, data[:end])
        return end

    def open(self, nonce: bytes, associated: bytes, data: memoryview, length: int) -> Bytes:
        """Decrypt ``data[:length]`` in place and check the seal at its end.

        Returns:
            ``length`` - 16.

        Raises:
            SealError: The seal does not match; the bytes are wiped, for a decryption that was
                not authenticated must reach nobody.
        """
        plain = length - SEAL_SIZE
        if plain < 0 or length > len(data):
            raise SealError(what=_WHAT)
        try:
            self._aead.decrypt_into(nonce, data[:length], associated, data[:plain])
        except InvalidTag:
            data[:plain] = bytes(plain)
            raise SealError(what=_WHAT) from None
        return Bytes(plain)


def make_nonce(layer: int, block: int) -> bytes:
    """Return the nonce of one block in one layer: u32 layer, u64 block number."""
    return _NONCE.pack(layer, block)
