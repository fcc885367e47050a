"""Joining a fleet, both sides, without a socket: messages in, messages and wishes out.

    Applicant                                   Registrar
      greet ────────── Greet ──────────────────▶ receive
      greeted ◀─────── Greeting ───────────────  (judged by the token's fingerprint)
      apply ────────── Enrol ──────────────────▶ receive → Application, for the authority
      admitted ◀────── Enrolled ───────────────

Source: docs/spec/trust.md, section 6.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.x509.oid import NameOID

from datamover.errors import (
    DataMoverError,
    DistrustError,
    EnrolmentError,
    FormatError,
    MalformedError,
    SecurityError,
    UsageError,
    facts,
    revive,
)
from datamover.link.certificates import (
    fingerprint,
    make_request,
    read_certificate,
    read_list,
    read_peer,
    verify_issued,
    write_certificate,
)
from datamover.link.fleet_messages import (
    Enrol,
    Enrolled,
    FleetMessage,
    Greet,
    Greeting,
    Inbox,
    Refresh,
    Refreshed,
    Refused,
    Renew,
    encode,
)
from datamover.link.identity import Membership
from datamover.link.peer import Peer, check_name
from datamover.link.proof import NONCE_SIZE, Statement, prove

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from datamover.link.token import Token

__all__ = [
    "Applicant",
    "Application",
    "Registrar",
    "Renewal",
    "check_membership",
    "fleet_answer",
    "granted",
    "open_refusal",
    "refusal",
    "unexpected",
]

_HOST_MOST: Final = 253
_WRONG: Final = "the server is not of the fleet that the token is for"


class Applicant:
    """The side that joins.

    Args:
        token: The invitation.
        key: The machine's own key, which stays here.
        name: The name that was asked for; empty for the one of the invitation, or ``host``.
        host: The machine's host name.

    Raises:
        UsageError: ``name`` is none.
    """

    def __init__(
        self, token: Token, key: ec.EllipticCurvePrivateKey, *, name: str = "", host: str = ""
    ) -> None:
        self._token = token
        self._key = key
        self._name = check_name(name) if name else ""
        self._host = host.lower()[:_HOST_MOST]
        self._request = make_request(key)
        self._nonce = b""
        self._authority: x509.Certificate | None = None
        self._server_nonce = b""

    def greet(self) -> bytes:
        """Return what begins a connection."""
        self._nonce = secrets.token_bytes(NONCE_SIZE)
        return encode(Greet(nonce=self._nonce))

    def greeted(self, message: FleetMessage) -> bytes:
        """Take the greeting and return the authority's certificate (DER), now to be trusted.

        Raises:
            DistrustError: It is another fleet's, or another authority's.
            MalformedError: It is no greeting.
            DataMoverError: The server refused.
        """
        if not isinstance(message, Greeting):
            raise unexpected(message)
        authority = read_certificate(message.authority)
        same = secrets.compare_digest(fingerprint(authority), self._token.fingerprint)
        if not same or message.fleet != self._token.fleet:
            raise DistrustError(peer="the server", reason=_WRONG)
        self._authority = authority
        self._server_nonce = message.nonce
        return message.authority

    def apply(self, server_certificate: bytes) -> bytes:
        """Return the application, for a connection whose server TLS has verified.

        Args:
            server_certificate: What the server showed on this connection, DER.
        """
        statement = Statement(
            fleet=self._token.fleet,
            invitation=self._token.invitation,
            client_nonce=self._nonce,
            server_nonce=self._server_nonce,
            server_certificate=server_certificate,
            request=self._request,
            name=self._name,
            host=self._host,
        )
        return encode(
            Enrol(
                invitation=statement.invitation,
                request=statement.request,
                name=statement.name,
                host=statement.host,
                proof=prove(self._token.secret, statement),
            )
        )

    def admitted(self, message: FleetMessage) -> Membership:
        """Take the answer.

        Raises:
            DistrustError: The certificate is not what was asked for.
            MalformedError: It is no answer.
            DataMoverError: The server refused.
        """
        if self._authority is None:
            raise UsageError(reason="nobody was greeted")
        membership = granted(message, self._authority)
        check_membership(membership, self._key, fleet=self._token.fleet.hex())
        return membership


@dataclass(frozen=True, slots=True)
class Application:
    """Somebody wants to be a member; the authority decides."""

    statement: Statement
    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A member wants a new certificate."""

    peer: Peer
    request: bytes


class Registrar:
    """The side that admits, for one connection.

    Args:
        authority: The authority's certificate.
        certificate: The certificate that this server shows on the connection, DER.
        peer: Who is at the other end; None when it showed no certificate.
    """

    def __init__(
        self, authority: x509.Certificate, certificate: bytes, *, peer: Peer | None
    ) -> None:
        self._authority = authority
        self._certificate = certificate
        self._peer = peer
        self._inbox = Inbox()
        self._nonce = secrets.token_bytes(NONCE_SIZE)
        self._client_nonce = b""

    def receive(self, data: bytes) -> Iterator[bytes | Application | Renewal | Refresh]:
        """Take bytes; yield bytes to send, and wishes to be granted or refused.

        Raises:
            FormatError: The bytes break a rule of the protocol.
            DistrustError: Only members may ask that.
            EnrolmentError: It comes out of turn.
        """
        for message in self._inbox.receive(data):
            yield self._answer(message)

    @property
    def is_torn(self) -> bool:
        """Whether a message has begun and is not whole."""
        return len(self._inbox) > 0

    def _answer(self, message: FleetMessage) -> bytes | Application | Renewal | Refresh:
        match message:
            case Greet() if not self._client_nonce:
                self._client_nonce = message.nonce
                return self._greeting()
            case Enrol() if self._client_nonce:
                return Application(self._statement(message), message.proof)
            case Renew() if self._peer is not None:
                return Renewal(self._peer, message.request)
            case Refresh() if self._peer is not None:
                return message
            case Renew() | Refresh():
                raise DistrustError(peer="a client without a certificate", reason="is no member")
            case _:
                raise EnrolmentError(reason=f"{type(message).__name__} out of turn")

    def _greeting(self) -> bytes:
        fleet = self._authority.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
        return encode(
            Greeting(
                nonce=self._nonce,
                fleet=bytes.fromhex(str(fleet)),
                authority=write_certificate(self._authority, pem=False),
            )
        )

    def _statement(self, message: Enrol) -> Statement:
        fleet = self._authority.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
        return Statement(
            fleet=bytes.fromhex(str(fleet)),
            invitation=message.invitation,
            client_nonce=self._client_nonce,
            server_nonce=self._nonce,
            server_certificate=self._certificate,
            request=message.request,
            name=message.name,
            host=message.host,
        )


def granted(message: FleetMessage, authority: x509.Certificate) -> Membership:
    """Read what an authority answered to Enrol or Renew.

    Raises:
        DistrustError: It is not of this authority.
        MalformedError: It is something else.
        DataMoverError: The server refused.
    """
    if not isinstance(message, Enrolled):
        raise unexpected(message)
    certificate = read_certificate(message.certificate)
    verify_issued(certificate, by=authority)
    _, revoked = read_list(message.revoked, authority)
    return Membership(certificate, authority, revoked)


def check_membership(
    membership: Membership, key: ec.EllipticCurvePrivateKey, *, fleet: str
) -> None:
    """Check that a certificate is for our key and our fleet.

    Raises:
        DistrustError: It is not.
    """
    if membership.certificate.public_key() != key.public_key():
        raise DistrustError(peer="the server", reason="it sent a certificate for another key")
    if read_peer(membership.certificate).fleet != fleet:
        raise DistrustError(peer="the server", reason="it sent a certificate of another fleet")


def refusal(error: DataMoverError) -> bytes:
    """Return the message that says why something was not done."""
    told = {name: value for name, value in facts(error).items() if name != "code"}
    return encode(Refused(code=error.code, facts=told))


def open_refusal(message: Refused) -> DataMoverError:
    """Return the error that a server told; it may choose among a few kinds only."""
    error = revive({**message.facts, "code": message.code})
    if isinstance(error, SecurityError | FormatError):
        return error
    return EnrolmentError(reason=f"the server refused: {message.code}")


def unexpected(message: FleetMessage) -> DataMoverError:
    """Return what an answer means that is not the one hoped for."""
    if isinstance(message, Refused):
        return open_refusal(message)
    return MalformedError(what="fleet message", reason=f"{type(message).__name__} was not expected")


def fleet_answer(outcome: Membership | x509.CertificateRevocationList) -> bytes:
    """Return the message that grants a wish."""
    if isinstance(outcome, Membership):
        return encode(
            Enrolled(
                certificate=write_certificate(outcome.certificate, pem=False),
                revoked=write_certificate(outcome.revoked, pem=False),
            )
        )
    return encode(Refreshed(revoked=write_certificate(outcome, pem=False)))
