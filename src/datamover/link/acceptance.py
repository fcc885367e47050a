"""Accepting a TLS connection: who is it, and what does it want to speak?

A context is made for each connection, so a renewed certificate and a new revocation list hold at
once.  The socket may have been looked into (``MSG_PEEK``) but not read.

Source: docs/spec/trust.md, sections 6 and 7; DESIGN D14.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import DataMoverError, DistrustError, PeerProtocolError
from datamover.link.certificates import write_certificate
from datamover.link.events import warn
from datamover.link.identity import Identity
from datamover.link.peer import Peer
from datamover.link.tls import (
    CONTROL,
    FLEET,
    link_error,
    peer_of,
    server_context,
)

if TYPE_CHECKING:
    from pathlib import Path

    from datamover.link.tls import ServerContext

__all__ = ["HANDSHAKE_S", "Accepted", "accept_secure"]

HANDSHAKE_S: Final = 5.0
_CLOSE_S: Final = 2.0
_ROOM: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A connection whose other side is known.

    Attributes:
        protocol: What will be spoken: ``tls.CONTROL`` (then there is a peer) or ``tls.FLEET``.
        peer: The member at the other end; None when it showed no certificate.
        certificate: What we showed, DER.
        address: Where it comes from, for logs.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: str
    peer: Peer | None
    certificate: bytes
    address: str


async def accept_secure(
    connection: socket.socket, configuration: Path, *, handshake_s: float = HANDSHAKE_S
) -> Accepted:
    """Speak TLS on a connection that was accepted, and find out who is there.

    What is refused is logged here.

    Args:
        connection: From ``accept``, not blocking; closed when this raises.
        configuration: Where this machine's identity is.
        handshake_s: How long the other side may take.

    Raises:
        DistrustError: It is not to be believed, or is no member and wants what members may.
        PeerProtocolError: It speaks nothing we know.
        PeerLostError: It hung up.
        SlowPeerError: It took too long.
        NotEnrolledError: This machine is no member of a fleet.
        DataMoverError: The identity cannot be used.

    Ownership: the streams own the socket afterwards.
    """
    address = _address(connection)
    try:
        return await _accept(connection, configuration, handshake_s, address)
    except DataMoverError as error:
        connection.close()
        _refused(address, error)
        raise
    except OSError as error:
        connection.close()
        told = link_error(error, address)
        _refused(address, told)
        raise told from error
    except BaseException:
        connection.close()
        raise


async def _accept(
    connection: socket.socket, configuration: Path, handshake_s: float, address: str
) -> Accepted:
    identity = Identity.load(configuration)
    streams = await _handshake(connection, server_context(identity), handshake_s)
    try:
        spoken, peer = _who(streams[1].get_extra_info("ssl_object"), address)
    except DataMoverError:
        streams[1].transport.abort()
        raise
    return Accepted(
        reader=streams[0],
        writer=streams[1],
        protocol=spoken,
        peer=peer,
        certificate=write_certificate(identity.certificate, pem=False),
        address=address,
    )


async def _handshake(
    connection: socket.socket, context: ServerContext, handshake_s: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_ROOM, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    with connection.dup() as spare:
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=context,
                ssl_handshake_timeout=handshake_s,
                ssl_shutdown_timeout=_CLOSE_S,
            )
        except ssl.SSLError:
            await _say_last(spare, context.alert)
            raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _say_last(connection: socket.socket, alert: bytes) -> None:
    """Send the alert, and wait until it is read: closing at once could take it back."""
    loop = asyncio.get_running_loop()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await loop.sock_sendall(connection, alert)
            connection.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(connection, _ROOM):
                pass


def _who(connection: ssl.SSLObject, address: str) -> tuple[str, Peer | None]:
    peer = peer_of(connection)
    spoken = connection.selected_alpn_protocol()
    if spoken not in (CONTROL, FLEET):
        raise PeerProtocolError(peer=address, reason="it speaks no protocol of ours")
    if spoken == CONTROL and peer is None:
        raise DistrustError(peer=address, reason="it showed no certificate")
    return spoken, peer


def _refused(address: str, error: DataMoverError) -> None:
    warn("fleet.refused", **{"from": address}, code=error.code, reason=error)


def _address(connection: socket.socket) -> str:
    try:
        host, port = connection.getpeername()[:2]
    except (OSError, ValueError):
        return "somebody"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
