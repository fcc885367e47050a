"""Keys, certificates, requests and revocation lists as bytes: made and read; no files.

Source: docs/spec/trust.md, section 2; RFC 5280; docs/decisions/0013-own-authority.md.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.utils import CryptographyDeprecationWarning

from datamover.errors import DistrustError, MalformedError
from datamover.link.peer import peer_from_names

if TYPE_CHECKING:
    from datamover.link.peer import Peer

__all__ = [
    "ends_s",
    "fingerprint",
    "key_digest",
    "make_key",
    "make_request",
    "read_certificate",
    "read_key",
    "read_list",
    "read_peer",
    "read_request",
    "verify_issued",
    "write_certificate",
    "write_key",
]

_CURVE: Final = "secp256r1"

# All that the library says of bytes that it cannot make sense of; its classes share no base.
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

# A peer that sends an odd certificate gets an error, and must not write on our terminal.
warnings.filterwarnings("ignore", "Parsed a serial number", CryptographyDeprecationWarning)


def make_key() -> ec.EllipticCurvePrivateKey:
    """Draw a key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a signed request (PKCS #10, DER) for the key; the authority decides the names."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def read_request(data: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key that a request is for, whose owner signed it.

    Raises:
        MalformedError: It is no request, not signed by its key, or the key is of another kind.
    """
    what = "certificate request"
    try:
        request = x509.load_der_x509_csr(data)
        key = request.public_key()
        signed = request.is_signature_valid
    except _UNREADABLE as error:
        raise MalformedError(what=what, reason="cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != _CURVE:
        raise MalformedError(what=what, reason="its key is not ECDSA P-256")
    if not signed:
        raise MalformedError(what=what, reason="its signature does not match")
    return key


def read_certificate(data: bytes) -> x509.Certificate:
    """Read a certificate (DER).

    Raises:
        MalformedError: It is none.
    """
    try:
        certificate = x509.load_der_x509_certificate(data)
    except _UNREADABLE as error:
        raise MalformedError(what="certificate", reason="cannot be read") from error
    if certificate.serial_number <= 0:
        raise MalformedError(what="certificate", reason="its serial number is not positive")
    return certificate


def read_list(
    data: bytes, authority: x509.Certificate
) -> tuple[int, x509.CertificateRevocationList]:
    """Read a revocation list (DER) and return its number, and the list.

    Raises:
        MalformedError: It is none, or not of this authority.
    """
    what = "revocation list"
    try:
        found = x509.load_der_x509_crl(data)
        number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        signed = found.is_signature_valid(_public(authority))
    except _UNREADABLE as error:
        raise MalformedError(what=what, reason="cannot be read") from error
    if not signed or found.issuer != authority.subject:
        raise MalformedError(what=what, reason="not signed by this fleet's authority")
    return number, found


def read_peer(certificate: x509.Certificate) -> Peer:
    """Return whom a certificate names.

    Raises:
        DistrustError: No machine of a fleet.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _UNREADABLE:
        raise DistrustError(peer="a peer", reason="its certificate names no machine") from None
    kinds = {x509.DNSName: "DNS", x509.UniformResourceIdentifier: "URI"}
    return peer_from_names((kinds.get(type(name), "other"), str(name.value)) for name in names)


def verify_issued(certificate: x509.Certificate, *, by: x509.Certificate) -> None:
    """Check that the authority signed a certificate.

    Raises:
        DistrustError: It did not.
    """
    try:
        certificate.verify_directly_issued_by(by)
    except (*_UNREADABLE, InvalidSignature):
        reason = "its certificate is of another authority"
        raise DistrustError(peer="a peer", reason=reason) from None


def read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a key of ours (PEM).

    Raises:
        MalformedError: It is none; the message shows nothing of it.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except _UNREADABLE:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != _CURVE:
        raise MalformedError(what="key", reason="cannot be read") from None
    return key


def write_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key as PEM; a secret."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_certificate(
    certificate: x509.Certificate | x509.CertificateRevocationList, *, pem: bool
) -> bytes:
    """Return a certificate or a revocation list as PEM or DER."""
    return certificate.public_bytes(Encoding.PEM if pem else Encoding.DER)


def fingerprint(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of a certificate (DER)."""
    return certificate.fingerprint(SHA256())


def key_digest(key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key, in hexadecimal."""
    digest = Hash(SHA256())
    digest.update(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def ends_s(certificate: x509.Certificate) -> int:
    """Return when a certificate ends, in seconds since the epoch."""
    return int(certificate.not_valid_after_utc.timestamp())


def _public(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise MalformedError(what="authority's certificate", reason="its key is not ECDSA")
    return key
