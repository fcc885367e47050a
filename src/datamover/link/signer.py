"""Signer: the authority's key and certificate, and what it signs.  No files, no state.

Source: docs/spec/trust.md, section 2; RFC 5280; docs/decisions/0013-own-authority.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from datamover.link.certificates import make_key
from datamover.link.peer import machine_uri

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datamover.link.peer import Peer

__all__ = ["MACHINE_LIFE_S", "Signer", "make_authority"]

MACHINE_LIFE_S: Final = 90 * 86400
_AUTHORITY_LIFE_S: Final = 3650 * 86400
_SLACK_S: Final = 300
_COMMON_NAME: Final = "datamover fleet authority"


@dataclass(frozen=True, slots=True)
class Signer:
    """The authority's key and certificate: what signs.

    Attributes:
        fleet: The fleet's id: 32 hexadecimal digits.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def fleet(self) -> str:
        """The fleet's id."""
        return str(
            self.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
        )

    def sign(
        self,
        peer: Peer,
        key: ec.EllipticCurvePublicKey,
        *,
        now_s: float,
        life_s: int = MACHINE_LIFE_S,
    ) -> x509.Certificate:
        """Make a machine's certificate."""
        end = min(_time(now_s + life_s), self.certificate.not_valid_after_utc)
        identifier = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        names = x509.SubjectAlternativeName(
            [x509.DNSName(peer.name), x509.UniformResourceIdentifier(machine_uri(peer))]
        )
        builder = (
            _builder(_name(peer.fleet, peer.name), self.certificate.subject, key)
            .not_valid_before(_time(now_s - _SLACK_S))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(names, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value),
                critical=False,
            )
        )
        return builder.sign(self.key, SHA256())

    def list(
        self, revoked: Iterable[tuple[int, float]], *, number: int, now_s: float
    ) -> x509.CertificateRevocationList:
        """Make a revocation list from serial numbers and times of revocation."""
        identifier = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(_time(now_s - _SLACK_S))
            .next_update(self.certificate.not_valid_after_utc)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value),
                critical=False,
            )
        )
        for serial, at_s in revoked:
            entry = x509.RevokedCertificateBuilder(serial, _time(at_s))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, SHA256())


def make_authority(fleet: str, *, now_s: float) -> Signer:
    """Make the key and the certificate that a fleet begins with."""
    key = make_key()
    name = _name(fleet, _COMMON_NAME)
    builder = (
        _builder(name, name, key.public_key())
        .not_valid_before(_time(now_s - _SLACK_S))
        .not_valid_after(_time(now_s + _AUTHORITY_LIFE_S))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Signer(builder.sign(key, SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(fleet: str, common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, fleet),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _time(at_s: float) -> datetime:
    return datetime.fromtimestamp(int(at_s), tz=UTC)
