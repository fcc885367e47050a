"""Reach the daemon of a machine that is a member of the same fleet.

Source: docs/spec/trust.md, section 7; docs/spec/control-protocol.md, section 1; SPEC C2, U7.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from datamover.errors import PeerUnreachableError
from datamover.link.address import DEFAULT_PORT, Address
from datamover.link.credentials import credentials
from datamover.link.tls import client_context, link_error
from datamover.monitor.peer import Peer
from datamover.monitor.reach import Reached, greeted
from datamover.monitor.tls_channel import TlsChannel

if TYPE_CHECKING:
    from pathlib import Path

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
        PeerError: It will not talk, or not the protocol.

    Blocking: some seconds at most.
    """
    ours = credentials(configuration)
    ours.read()  # a key that others can read is not used
    # A member's name is in lowercase, and its certificate must have it.
    context = client_context(ours, host.name.lower())
    place = (host.name, host.port or DEFAULT_PORT)
    try:
        connection = socket.create_connection(place, _CONNECT_S)
    except OSError as error:
        reason = f"no monitor answers at port {place[1]}: {(error.strerror or str(error)).lower()}"
        raise PeerUnreachableError(peer=str(host), reason=reason) from None
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
