"""Reach the daemon of a machine that is a member of the same fleet.

Source: docs/spec/trust.md, section 7; docs/spec/control-protocol.md, section 1; SPEC C2, U7.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from datamover.errors import PeerUnreachableError
from datamover.link.address import Address
from datamover.link.credentials import credentials
from datamover.link.known_hosts import known_host
from datamover.link.tls import client_context, link_error
from datamover.monitor.peer import Peer
from datamover.monitor.reach import Reached, greeted
from datamover.monitor.tls_channel import TlsChannel

if TYPE_CHECKING:
    from pathlib import Path

    from datamover.link.known_hosts import KnownHost
    from datamover.monitor.patience import Patience
    from datamover.monitor.place import Host

__all__ = ["reach_daemon"]

_CONNECT_S: Final = 3.0
"""A machine that does not answer at all is one with a shell, behind a wall."""


def reach_daemon(host: Host, configuration: Path, *, purpose: str, patience: Patience) -> Reached:
    """Begin a conversation with a member's daemon.

    Raises:
        PeerUnreachableError: No daemon answers there.
        UnsafeFileError: Others can read this machine's key.
        DistrustError: Who answers is not the member of that name.
        MalformedError: hosts.toml says what cannot be understood.
        PeerError: It will not talk, or not the protocol.

    Blocking: some seconds at most.
    """
    ours = credentials(configuration)
    ours.read()  # a key that others can read is not used
    known = known_host(configuration, host.name)
    # The certificate must have this name, whatever was typed and dialed.
    context = client_context(ours, known.name)
    connection = _connected(host, known)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(patience.opening_s)
        at = Address(*connection.getpeername()[:2])
        secure = context.wrap_socket(connection)
    except OSError as error:
        connection.close()
        raise link_error(error, str(host)) from None
    peer = Peer(TlsChannel(secure), name=str(host), patience=patience)
    return Reached(peer=greeted(peer, purpose, patience.opening_s), addresses=(str(at),))


def _connected(host: Host, known: KnownHost) -> socket.socket:
    """Connect to the first place that answers.

    Raises:
        PeerUnreachableError: None does; says what the last one did.
    """
    reason = ""
    for place in known.places(host.name, host.port):
        try:
            return socket.create_connection((place.host, place.port), _CONNECT_S)
        except OSError as error:
            where = f"{place}" if known.addresses else f"port {place.port}"
            reason = f"no monitor answers at {where}: {(error.strerror or str(error)).lower()}"
    raise PeerUnreachableError(peer=str(host), reason=reason)
