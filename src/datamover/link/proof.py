"""How a joining machine proves its token without showing it.

The secret is the seed of a signing key.  The authority keeps the public half; the machine signs
the connection it speaks on, so nobody in between, and no reader of the authority's files, can
use what was said.

Source: docs/spec/trust.md, section 6; RFC 8032 (Ed25519); docs/decisions/0013-own-authority.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from datamover.codec.keys import derive_subkey

__all__ = ["NONCE_SIZE", "PROOF_SIZE", "Statement", "is_proved", "prove", "verifier_of"]

NONCE_SIZE: Final = 32
PROOF_SIZE: Final = 64

_PURPOSE: Final = b"datamover invitation v1"
_LABEL: Final = b"datamover enrol v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is signed: this invitation, on this connection, to this server, for this request."""

    fleet: bytes
    invitation: bytes
    client_nonce: bytes
    server_nonce: bytes
    server_certificate: bytes
    request: bytes
    name: str
    host: str

    def encode(self) -> bytes:
        """Return the bytes; every part has one length, so no border can be moved."""
        hashed = (
            sha256(part).digest()
            for part in (
                self.server_certificate,
                self.request,
                self.name.encode(),
                self.host.encode(),
            )
        )
        return b"".join(
            (
                _LABEL,
                self.fleet,
                self.invitation,
                self.client_nonce,
                self.server_nonce,
                *hashed,
            )
        )


def verifier_of(secret: bytes, *, fleet: bytes) -> bytes:
    """Return what the authority keeps of a token's secret: 32 bytes, of no use to a thief."""
    return _key(secret, fleet).public_key().public_bytes_raw()


def prove(secret: bytes, statement: Statement) -> bytes:
    """Return the proof: 64 bytes."""
    return _key(secret, statement.fleet).sign(statement.encode())


def is_proved(proof: bytes, statement: Statement, *, verifier: bytes) -> bool:
    """Whether who made the proof has the token."""
    try:
        Ed25519PublicKey.from_public_bytes(verifier).verify(proof, statement.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def _key(secret: bytes, fleet: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(derive_subkey(secret, _PURPOSE, fleet))
