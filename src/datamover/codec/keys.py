"""Keys: from a passphrase, under other keys, and for one purpose each.

    passphrase --Argon2id--> key-encryption key --wraps--> store key --wraps--> archive key

Nothing here draws randomness: salts, nonces and new keys come from the caller.

Source: docs/spec/keys.md; RFC 9106 (Argon2id); RFC 5869 (HKDF); SPEC E3; DESIGN D10.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from datamover.codec.cipher import KEY_SIZE, NONCE_SIZE, SEAL_SIZE
from datamover.errors import MalformedError, SealError, UsageError

__all__ = [
    "WRAPPED_SIZE",
    "KdfParameters",
    "derive_key",
    "derive_subkey",
    "read_hex",
    "unwrap_key",
    "wrap_key",
]

WRAPPED_SIZE: Final = NONCE_SIZE + KEY_SIZE + SEAL_SIZE

_WRAP_PURPOSE: Final = b"datamover wrap key v1"
_WHAT: Final = "key derivation parameters"


@dataclass(frozen=True, slots=True, kw_only=True)
class KdfParameters:
    """How a passphrase becomes a key (Argon2id, version 0x13).

    The defaults are the second choice of RFC 9106, 64 MiB; the bounds are what this release is
    willing to spend on a file's word: a hostile store cannot ask for a terabyte, nor for a week.

    Attributes:
        salt: 8 to 64 bytes, 16 in new stores; random, public.
        memory_kib: KiB, at least 8 a lane, at most 4 GiB.
        iterations: Passes over the memory; ``memory_kib * iterations`` is at most 16 GiB.
        lanes: Threads, 1 to 16.

    Raises:
        MalformedError: A value is out of its bounds.
    """

    MEMORY_MAX_KIB: ClassVar[int] = 4 * 1024 * 1024
    WORK_MAX_KIB: ClassVar[int] = 16 * 1024 * 1024
    LANES_MAX: ClassVar[int] = 16

    salt: bytes = field(repr=False)
    memory_kib: int = 65536
    iterations: int = 3
    lanes: int = 4

    def __post_init__(self) -> None:
        _bound("salt", len(self.salt), 8, 64)
        _bound("lanes", self.lanes, 1, self.LANES_MAX)
        _bound("memory_kib", self.memory_kib, 8 * self.lanes, self.MEMORY_MAX_KIB)
        _bound("iterations", self.iterations, 1, self.WORK_MAX_KIB // self.memory_kib)


def derive_key(passphrase: bytes, parameters: KdfParameters) -> bytes:
    """Turn a passphrase into a key of 32 bytes, slowly.

    Blocking: 0.2 s with the defaults; the lanes run in threads of the library.
    """
    return Argon2id(
        salt=parameters.salt,
        length=KEY_SIZE,
        iterations=parameters.iterations,
        lanes=parameters.lanes,
        memory_cost=parameters.memory_kib,
    ).derive(passphrase)


def derive_subkey(key: bytes, purpose: bytes, context: bytes) -> bytes:
    """Derive a key of 32 bytes for one purpose (HKDF-SHA256: info is purpose, salt is context).

    Args:
        key: A key of this hierarchy, not a passphrase.
        purpose: A label, one for each use in the program.
        context: What the key is for, such as an archive's id; public, of one length a purpose.
    """
    return HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=context, info=purpose).derive(key)


def read_hex(what: str, text: str, *, size: int = KEY_SIZE) -> bytes:
    """Read ``size`` bytes from the hexadecimal digits of a stage's setting.

    Raises:
        UsageError: Not that many digits; the message does not repeat them, for it may be a key.
    """
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size:
        raise UsageError(reason=f"{what}: not {2 * size} hexadecimal digits")
    return value


def wrap_key(key: bytes, *, by: bytes, nonce: bytes, context: bytes) -> bytes:
    """Encrypt one key under another.

    The wrapping key is used nowhere else: it is derived from ``by`` for this context alone.

    Args:
        key: 32 bytes.
        by: The key to wrap with, 32 bytes.
        nonce: 12 random bytes.
        context: Names the wrapped key, such as an archive's id; must be given again to unwrap.

    Returns:
        60 bytes: nonce, encrypted key, seal.

    Raises:
        UsageError: A length is wrong.
    """
    if len(key) != KEY_SIZE or len(by) != KEY_SIZE or len(nonce) != NONCE_SIZE:
        raise UsageError(reason=f"keys have {KEY_SIZE} bytes and nonces {NONCE_SIZE}")
    return nonce + _wrapping(by, context).encrypt(nonce, key, context)


def unwrap_key(wrapped: bytes, *, by: bytes, context: bytes) -> bytes:
    """Undo ``wrap_key``.

    Raises:
        MalformedError: ``wrapped`` has not 60 bytes.
        SealError: ``by`` or ``context`` is another, or the bytes were changed.
    """
    if len(wrapped) != WRAPPED_SIZE:
        raise MalformedError(what="wrapped key", reason=f"{len(wrapped)} bytes")
    nonce, sealed = wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:]
    try:
        return _wrapping(by, context).decrypt(nonce, sealed, context)
    except InvalidTag:
        raise SealError(what="wrapped key") from None


def _wrapping(by: bytes, context: bytes) -> AESGCM:
    return AESGCM(derive_subkey(by, _WRAP_PURPOSE, context))


def _bound(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise MalformedError(what=_WHAT, reason=f"{name} is {value}, not {least} to {most}")
