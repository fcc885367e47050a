"""TLS as this system speaks it: 1.3, certificates of one fleet both ways, nothing resumed.

Source: docs/spec/trust.md, section 7; RFC 8446; DESIGN D8, D14.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

from datamover.errors import (
    DataMoverError,
    DistrustError,
    MalformedError,
    PeerLostError,
    PeerProtocolError,
    SlowPeerError,
)
from datamover.link.peer import Peer, peer_from_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from datamover.link.credentials import Credentials

__all__ = [
    "CONTROL",
    "FLEET",
    "ServerContext",
    "client_context",
    "link_error",
    "peer_of",
    "pinned_context",
    "server_context",
    "unverified_context",
]

CONTROL: Final = "datamover/1"
"""The application protocol of members (ALPN)."""

FLEET: Final = "datamover-fleet/1"
"""The application protocol of joining, renewing and refreshing (ALPN)."""

_STRICT: Final = ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_LEAF

# What the other side's TLS says when it hangs up, in our words.
_DISBELIEF: Final[Mapping[str, str]] = {
    "UNKNOWN_CA": "it does not know our fleet's authority",
    "CERTIFICATE_REVOKED": "it says that this machine was revoked",
    "CERTIFICATE_EXPIRED": "it says that our certificate has ended",
    "CERTIFICATE_REQUIRED": "it wants a certificate, and we showed none",
    "CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "BAD_CERTIFICATE": "it does not accept our certificate",
    "DECRYPT_ERROR": "it does not accept our certificate",
}
_OLD_TLS: Final = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL")
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY", "RECORD_LAYER_FAILURE")


def server_context(identity: Credentials) -> ServerContext:
    """Make the context for one connection that is accepted; a fresh one holds what is new.

    A client without a certificate is let in, for it may want to join: see ``peer_of``.

    Raises:
        MalformedError: The files of the identity do not fit each other.
        OSError: They cannot be read.
    """
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _Handshaking
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 0
    context.set_alpn_protocols([CONTROL, FLEET])
    _prepare(context, identity)
    return context


def client_context(
    identity: Credentials, machine: str | None, *, protocol: str = CONTROL
) -> ssl.SSLContext:
    """Make the context for one connection that is dialed.

    Args:
        identity: Who we are.
        machine: Whom we expect: the name in its certificate, whatever address is dialed, and
            whatever ``server_hostname`` the caller gives.  None for any member.
        protocol: What will be spoken.

    Raises:
        MalformedError: The files of the identity do not fit each other.
        OSError: They cannot be read.
    """
    context = _Expecting(ssl.PROTOCOL_TLS_CLIENT)
    context.expected = machine
    context.check_hostname = machine is not None
    context.set_alpn_protocols([protocol])
    _prepare(context, identity)
    return context


def pinned_context(authority: bytes) -> ssl.SSLContext:
    """Make the context of a machine that joins: it trusts one authority, and shows nothing.

    Args:
        authority: The certificate that the token pins, DER.
    """
    context = _Expecting(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # no name is known yet; any member may answer
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols([FLEET])
    context.load_verify_locations(cadata=authority)
    return context


def unverified_context() -> ssl.SSLContext:
    """Make the context that fetches the authority's certificate, which is judged by its hash."""
    context = _Expecting(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([FLEET])
    return context


def peer_of(connection: ssl.SSLObject | ssl.SSLSocket) -> Peer | None:
    """Return whom the verified certificate of the other side names; None when it showed none.

    Raises:
        DistrustError: Nothing was verified, or the certificate names no machine.
    """
    if connection.context.verify_mode == ssl.CERT_NONE:
        raise DistrustError(peer="a peer", reason="its certificate was not verified")
    # Only of a verified certificate does this hold anything.
    told = connection.getpeercert()
    if not told:
        return None
    names: Iterable[Any] = told.get("subjectAltName", ())
    return peer_from_names((str(kind), str(text)) for kind, text in names)


def link_error(error: OSError, peer: str) -> DataMoverError:
    """Turn what a socket or TLS says into an error of ours.

    Args:
        error: What was raised; ``ssl.SSLError`` is among them.
        peer: The other side, for the message.
    """
    match error:
        case ssl.SSLCertVerificationError():
            reason = f"its certificate does not do: {str(error.verify_message).lower()}"
            return DistrustError(peer=peer, reason=reason)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionError():
            return _broken(error, peer)
        case ssl.SSLError():
            return _alert(getattr(error, "reason", None) or str(error), peer)
        case TimeoutError():
            return SlowPeerError(peer=peer, reason="it took too long")
        case _:
            return PeerLostError(peer=peer, reason=(error.strerror or str(error)).lower())


def _broken(error: OSError, peer: str) -> DataMoverError:
    if isinstance(error, ConnectionAbortedError) and error.errno is None:
        # asyncio's word for a handshake that takes too long.
        return SlowPeerError(peer=peer, reason="its TLS handshake took too long")
    return PeerLostError(peer=peer, reason="it closed the connection")


class ServerContext(ssl.SSLContext):
    """A context for one connection that keeps what it could not say.

    asyncio drops a connection whose handshake fails together with the alert that says why.
    """

    alert: bytes = b""
    """What tells the other side why the handshake failed; empty when it did not."""

    _outgoing: ssl.MemoryBIO | None = None

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:  # noqa: ANN401 - as given
        """See ``ssl.SSLContext``."""
        self._outgoing = named.get("outgoing", given[1] if len(given) > 1 else None)
        return super().wrap_bio(*given, **named)

    def keep_alert(self) -> None:
        """Take the bytes that wait to be sent."""
        if self._outgoing is not None:
            self.alert = self._outgoing.read()


class _Handshaking(ssl.SSLObject):
    """A server's side, which notices at once that its handshake fails."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            if isinstance(self.context, ServerContext):
                self.context.keep_alert()
            raise


class _Expecting(ssl.SSLContext):
    """A context that knows whom it expects, so that no caller can leave the name out."""

    expected: str | None = None

    def wrap_socket(self, *given: Any, **named: Any) -> ssl.SSLSocket:  # noqa: ANN401 - as given
        return super().wrap_socket(*given, **named | {"server_hostname": self.expected})

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:  # noqa: ANN401 - as given
        return super().wrap_bio(*given, **named | {"server_hostname": self.expected})


def _prepare(context: ssl.SSLContext, identity: Credentials) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= _STRICT
    try:
        context.load_cert_chain(identity.chain_file)
        context.load_verify_locations(cafile=identity.trust_file)
    except ssl.SSLError as error:
        what = str(identity.folder)
        raise MalformedError(what=what, reason=f"does not fit together: {error.reason}") from None


def _alert(reason: str, peer: str) -> DataMoverError:
    for word, text in _DISBELIEF.items():
        if word in reason:
            return DistrustError(peer=peer, reason=text)
    if any(word in reason for word in _OLD_TLS):
        return PeerProtocolError(peer=peer, reason="it does not speak TLS 1.3")
    if any(word in reason for word in _NO_TLS):
        return PeerProtocolError(peer=peer, reason="it does not speak TLS")
    return PeerProtocolError(peer=peer, reason=f"TLS failed: {reason.lower().replace('_', ' ')}")
