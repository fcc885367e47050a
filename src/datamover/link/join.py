"""Becoming and staying a member, over real connections; for commands, so it blocks.

Source: docs/spec/trust.md, section 6.
"""

from __future__ import annotations

import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

from datamover.errors import (
    DataMoverError,
    EnrolmentError,
    PeerLostError,
    PeerUnreachableError,
    SlowPeerError,
    UsageError,
)
from datamover.link.certificates import make_key, make_request
from datamover.link.credentials import is_enrolled
from datamover.link.enrolment import Applicant, check_membership, granted, unexpected
from datamover.link.fleet_messages import (
    FleetMessage,
    Inbox,
    Refresh,
    Refreshed,
    Renew,
    encode,
)
from datamover.link.identity import Identity, pending_key
from datamover.link.tls import (
    FLEET,
    client_context,
    link_error,
    pinned_context,
    unverified_context,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from datamover.link.address import Address
    from datamover.link.token import Token

__all__ = ["join", "refresh", "renew"]

_DEADLINE_S: Final = 30.0
_PIECE: Final = 4096
_T = TypeVar("_T")


def join(
    token: Token,
    configuration: Path,
    *,
    name: str = "",
    host: str | None = None,
    addresses: Iterable[Address] = (),
    deadline_s: float = _DEADLINE_S,
) -> Identity:
    """Make this machine a member.

    When it is cut off the same call goes on: the authority knows the key again.

    Args:
        token: The invitation.
        configuration: Where the identity will be.
        name: The machine's name; empty for the invitation's, or the host's.
        host: The host's name; None for that of this system.
        addresses: Where the authority answers; none for those in the token.
        deadline_s: How long all of it may take.

    Raises:
        EnrolmentError: This machine is a member already, or was refused; see its subclasses.
        PeerUnreachableError: No address answers.
        DistrustError: What answers is not of the token's fleet.
        PeerLostError: It hung up.
        SlowPeerError: It took too long.
        FormatError: What answers breaks a rule of the protocol.
        UsageError: ``name`` is none, or there is no address.
        OSError: The identity cannot be written.

    Blocking: at most ``deadline_s``.
    """
    if is_enrolled(configuration):
        at = configuration / "identity"
        raise EnrolmentError(reason=f"this machine is a member already; to leave, remove {at}")
    places = tuple(addresses) or token.addresses
    if not places:
        raise UsageError(reason="the token has no address: say where the authority is")
    key = pending_key(configuration)
    told = socket.gethostname() if host is None else host
    applicant = Applicant(token, key, name=name, host=told)
    deadline = time.monotonic() + deadline_s

    def attempt(address: Address) -> Identity:
        with closing(_Line(address, unverified_context(), deadline)) as line:
            authority = applicant.greeted(line.ask(applicant.greet()))
        with closing(_Line(address, pinned_context(authority), deadline)) as line:
            applicant.greeted(line.ask(applicant.greet()))
            membership = applicant.admitted(line.ask(applicant.apply(line.certificate)))
        return Identity.save(configuration, key, membership, home=places)

    return _first(places, attempt)


def renew(
    configuration: Path, *, addresses: Iterable[Address] = (), deadline_s: float = _DEADLINE_S
) -> Identity:
    """Get a new certificate for a new key, and the newest revocation list.

    Raises:
        NotEnrolledError: This machine is no member.
        DistrustError: The other side does not believe us any more.
        DataMoverError: As ``join``.
        OSError: The identity cannot be written; the old one is as it was.

    Blocking: at most ``deadline_s``.
    """
    identity = Identity.load(configuration)
    key = make_key()
    places = tuple(addresses) or identity.home
    deadline = time.monotonic() + deadline_s

    def attempt(address: Address) -> Identity:
        context = client_context(identity, None, protocol=FLEET)
        with closing(_Line(address, context, deadline)) as line:
            answer = line.ask(encode(Renew(request=make_request(key))))
        membership = granted(answer, identity.authority)
        check_membership(membership, key, fleet=identity.peer.fleet)
        return Identity.save(configuration, key, membership, home=places)

    return _first(places, attempt)


def refresh(
    configuration: Path, *, addresses: Iterable[Address] = (), deadline_s: float = _DEADLINE_S
) -> bool:
    """Get the revocation list and say whether it was newer.

    Raises:
        As ``renew``.

    Blocking: at most ``deadline_s``.
    """
    identity = Identity.load(configuration)
    deadline = time.monotonic() + deadline_s

    def attempt(address: Address) -> bool:
        context = client_context(identity, None, protocol=FLEET)
        with closing(_Line(address, context, deadline)) as line:
            answer = line.ask(encode(Refresh()))
        if not isinstance(answer, Refreshed):
            raise unexpected(answer)
        return identity.take_list(answer.revoked)

    return _first(tuple(addresses) or identity.home, attempt)


def _first(places: tuple[Address, ...], attempt: Callable[[Address], _T]) -> _T:
    """Return what the first address gives that can be reached."""
    failure: DataMoverError = UsageError(reason="it is not known where the authority answers")
    for address in places:
        try:
            return attempt(address)
        except _UnreachableError as error:
            failure = PeerUnreachableError(peer=str(address), reason=f"cannot be reached: {error}")
    raise failure


class _UnreachableError(Exception):
    """Nothing was said yet, so another address may be tried."""


class _Line:
    """One TLS connection with a deadline for all that happens on it."""

    def __init__(self, address: Address, context: ssl.SSLContext, deadline: float) -> None:
        self._peer = str(address)
        self._deadline = deadline
        self._inbox = Inbox()
        plain = _dial(address, self._left())
        try:
            plain.settimeout(self._left())
            self._socket = context.wrap_socket(plain)
        except OSError as error:
            plain.close()
            raise link_error(error, self._peer) from error

    @property
    def certificate(self) -> bytes:
        """What the server showed, DER."""
        return self._socket.getpeercert(binary_form=True) or b""

    def ask(self, data: bytes) -> FleetMessage:
        """Send a message and return the answer."""
        try:
            self._socket.settimeout(self._left())
            self._socket.sendall(data)
            while True:
                self._socket.settimeout(self._left())
                piece = self._socket.recv(_PIECE)
                if not piece:
                    raise PeerLostError(peer=self._peer, reason="it closed the connection")
                for message in self._inbox.receive(piece):
                    return message
        except OSError as error:
            raise link_error(error, self._peer) from error

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise SlowPeerError(peer=self._peer, reason="it took too long")
        return left


def _dial(address: Address, timeout_s: float) -> socket.socket:
    try:
        return socket.create_connection((address.host, address.port), timeout_s)
    except TimeoutError:
        raise _UnreachableError("no answer") from None
    except OSError as error:
        raise _UnreachableError((error.strerror or str(error)).lower()) from None
