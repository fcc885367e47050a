"""The authority's side of joining, renewing and refreshing, for a listener to mount.

    accepted = await accept_secure(connection, configuration)
    if accepted.protocol == FLEET:
        await serve_enrolment(accepted, configuration)

Source: docs/spec/trust.md, section 6.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from datamover.errors import DataMoverError, EnrolmentError, SlowPeerError
from datamover.link.authority import Authority
from datamover.link.certificates import read_request
from datamover.link.enrolment import Application, Registrar, Renewal, fleet_answer, refusal
from datamover.link.events import tell, warn
from datamover.link.tls import link_error

if TYPE_CHECKING:
    from pathlib import Path

    from datamover.link.acceptance import Accepted
    from datamover.link.fleet_messages import Refresh

__all__ = ["EXCHANGE_S", "serve_enrolment"]

EXCHANGE_S: Final = 10.0
_PIECE: Final = 4096


async def serve_enrolment(
    accepted: Accepted, configuration: Path, *, exchange_s: float = EXCHANGE_S
) -> None:
    """Serve one connection and close it; never raises for what the other side does.

    Joins, renewals and refusals are logged.

    Args:
        accepted: The connection; its peer may be None.
        configuration: Where the authority is, when it is here.
        exchange_s: How long everything may take.
    """
    try:
        async with asyncio.timeout(exchange_s):
            try:
                await _serve(accepted, configuration)
            except DataMoverError as error:
                _log(accepted, error)
                await _send(accepted, refusal(error))
    except TimeoutError:
        _log(
            accepted,
            SlowPeerError(peer=accepted.address, reason=f"not done within {exchange_s:g} s"),
        )
    except OSError as error:
        _log(accepted, link_error(error, accepted.address))
    finally:
        await _close(accepted.writer)


async def _serve(accepted: Accepted, configuration: Path) -> None:
    authority = await asyncio.to_thread(Authority.open, configuration)
    registrar = Registrar(authority.certificate, accepted.certificate, peer=accepted.peer)
    while data := await accepted.reader.read(_PIECE):
        for wish in registrar.receive(data):
            if isinstance(wish, bytes):
                await _send(accepted, wish)
                continue
            # To its end, even when the connection goes: what was begun is durable or not done.
            granting = asyncio.ensure_future(asyncio.to_thread(_grant, authority, wish, accepted))
            granting.add_done_callback(_look_at)
            await _send(accepted, await asyncio.shield(granting))
            return
    if registrar.is_torn:
        raise EnrolmentError(reason="the connection ended in the middle of a message")


def _grant(
    authority: Authority, wish: Application | Renewal | Refresh, accepted: Accepted
) -> bytes:
    at = {"from": accepted.address}
    match wish:
        case Application():
            membership = authority.redeem(wish.statement, wish.proof)
            peer = membership.peer
            invitation = wish.statement.invitation.hex()
            tell("fleet.joined", machine=peer.name, id=peer.machine, invitation=invitation, **at)
            return fleet_answer(membership)
        case Renewal():
            membership = authority.renew(wish.peer, read_request(wish.request))
            tell("fleet.renewed", machine=wish.peer.name, id=wish.peer.machine, **at)
            return fleet_answer(membership)
        case _:
            return fleet_answer(authority.revoked())


def _look_at(granting: asyncio.Future[bytes]) -> None:
    """Take what came of it, so that a wish nobody waits for any more is no loose end."""
    if not granting.cancelled():
        granting.exception()


async def _send(accepted: Accepted, data: bytes) -> None:
    accepted.writer.write(data)
    await accepted.writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, TimeoutError):
        await writer.wait_closed()


def _log(accepted: Accepted, error: DataMoverError) -> None:
    warn("fleet.refused", **{"from": accepted.address}, code=error.code, reason=error)
