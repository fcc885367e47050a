"""The daemon's doors: what comes in is told apart by its first byte, and nobody waits for it.

    Unix socket ── the same user, or root ─────────────────────▶ conversation
    TCP ── 0x16 ── TLS ── ALPN datamover/1, a member ──────────▶ conversation
         │             └─ ALPN datamover-fleet/1 ──────────────▶ enrolment
         ├─ "D" ── a data path's hello of 64 bytes ────────────▶ the door that it names
         └─ anything else, or nothing in time ─────────────────▶ closed

Source: docs/spec/control-protocol.md, section 1; SPEC C1, C11, U7; DESIGN D7, D14.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final, Protocol

from datamover.errors import (
    DataMoverError,
    NotAllowedError,
    PeerLostError,
    PeerProtocolError,
    SlowPeerError,
)
from datamover.link.acceptance import Accepted, accept_secure
from datamover.link.events import warn
from datamover.monitor.patience import PATIENCE
from datamover.monitor.runtime import short, user_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from datamover.link.address import Address
    from datamover.monitor.patience import Patience

__all__ = ["Handlers", "Listener"]

_TLS: Final = 0x16
_PATH: Final = b"DMPH"
_HELLO: Final = 64
_MOST_STRANGERS: Final = 128
_MOST_GUESTS: Final = 512
_PAUSE_S: Final = 0.2
_BACKLOG: Final = 512


class Handlers(Protocol):
    """What is done with whoever came in; each returns when that is over, and closes it."""

    async def serve_user(self, connection: socket.socket, user: int) -> None:
        """Serve a process of this machine; it has been said whose it is."""
        ...

    async def serve_secure(self, accepted: Accepted) -> None:
        """Serve a member, or who wants to become one."""
        ...

    async def serve_path(self, connection: socket.socket, hello: bytes) -> None:
        """Pass on a data path whose hello was read and not judged."""
        ...


class Listener:
    """Sockets that are listened to, and what has come in by them."""

    def __init__(
        self, handlers: Handlers, configuration: Path, *, patience: Patience = PATIENCE
    ) -> None:
        """Listen to nothing yet.

        Args:
            handlers: What is done with whoever comes in.
            configuration: Where this machine's identity is.
            patience: How long the first bytes may take.
        """
        self._handlers = handlers
        self._configuration = configuration
        self._patience = patience
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._guests: set[asyncio.Task[None]] = set()
        self._strangers: set[asyncio.Task[None]] = set()
        self._is_crowded = False

    def listen_unix(self, path: Path) -> None:
        """Listen at a path, for this user and root; what lay there is replaced.

        Raises:
            OSError: The system refuses.
        """
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            with short(path) as name:
                listening.bind(name)
            path.chmod(0o600)
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
        self._begin(listening, self._serve_user)

    def listen_tcp(self, addresses: Iterable[Address]) -> list[str]:
        """Listen at addresses, a name at all that it has; return where.

        Raises:
            OSError: An address is taken, or is not this machine's; the others are listened to.
        """
        found = []
        for address in addresses:
            told = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, *_, place in told:
                with _said(address):
                    listening = socket.create_server(place, family=family, backlog=_BACKLOG)
                self._begin(listening, self._sort)
                found.append(_shown(listening.getsockname()))
        return found

    def close(self) -> None:
        """Listen no more; whoever came in stays.  Idempotent."""
        for task in self._accepting:
            task.cancel()
        for listening in self._sockets:
            listening.close()
        self._accepting, self._sockets = [], []

    async def dismiss(self) -> None:
        """End what goes on with whoever came in, and wait until it has ended."""
        for guest in self._guests:
            guest.cancel()
        await asyncio.gather(*self._guests, return_exceptions=True)

    # ---- inside

    def _begin(self, listening: socket.socket, serve: Serve) -> None:
        listening.setblocking(False)
        self._sockets.append(listening)
        self._accepting.append(asyncio.ensure_future(self._accept(listening, serve)))

    async def _accept(self, listening: socket.socket, serve: Serve) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                # Out of descriptors, or the connection went before it was taken.
                warn("monitor.not-accepted", reason=error.strerror or error)
                await asyncio.sleep(_PAUSE_S)
                continue
            is_stranger = serve == self._sort
            if self._is_full(strangers=is_stranger):
                connection.close()
                continue
            connection.setblocking(False)
            guest = asyncio.ensure_future(self._host(connection, serve))
            self._guests.add(guest)
            guest.add_done_callback(self._guests.discard)
            if is_stranger:  # from here on: many may be accepted before the first is looked at
                self._strangers.add(guest)
                guest.add_done_callback(self._strangers.discard)
            await asyncio.sleep(0)

    def _is_full(self, *, strangers: bool) -> bool:
        """Whether nobody more can come in; strangers never keep the users of this machine out."""
        full = len(self._guests) >= _MOST_GUESTS
        if strangers:
            full = full or len(self._strangers) >= _MOST_STRANGERS
            if full and not self._is_crowded:
                warn("monitor.crowded", strangers=len(self._strangers), guests=len(self._guests))
            self._is_crowded = full
        return full

    async def _host(self, connection: socket.socket, serve: Serve) -> None:
        address = _shown_peer(connection)
        try:
            await serve(connection, address)
        except (DataMoverError, OSError) as error:
            warn("monitor.closed", **{"from": address}, reason=error)
        except Exception as error:  # one guest's trouble must not be that of the others
            warn("monitor.failed", **{"from": address}, error=repr(error))

    async def _serve_user(self, connection: socket.socket, _address: str) -> None:
        user = user_of(connection)
        if user not in {os.geteuid(), 0}:
            connection.close()
            raise NotAllowedError(machine=f"user {user}", action="talk to this monitor")
        await self._handlers.serve_user(connection, user)

    async def _sort(self, connection: socket.socket, address: str) -> None:
        try:
            serving = await self._proven(connection, address)
        except BaseException:
            connection.close()
            raise
        if serving is not None:
            self._strangers.discard(_current())
            await serving

    async def _proven(
        self, connection: socket.socket, address: str
    ) -> Coroutine[None, None, None] | None:
        """Return what serves a stranger, once it has shown what it is; None: it was logged."""
        first = await self._first(connection, address)
        if first == _TLS:
            try:
                accepted = await accept_secure(connection, self._configuration)
            except DataMoverError:
                return None
            return self._handlers.serve_secure(accepted)
        if first == _PATH[0]:
            hello = await self._hello(connection)
            return self._handlers.serve_path(connection, hello)
        raise PeerProtocolError(peer=address, reason=f"begins with byte {first:#04x}")

    async def _first(self, connection: socket.socket, address: str) -> int:
        """Return the first byte, without taking it."""
        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        loop.add_reader(connection, came.set)
        try:
            await asyncio.wait_for(came.wait(), self._patience.opening_s)
        except TimeoutError:
            raise SlowPeerError(peer=address, reason="it said nothing in time") from None
        finally:
            loop.remove_reader(connection)
        found = connection.recv(1, socket.MSG_PEEK)
        if not found:
            raise PeerLostError(peer=address, reason="it said nothing")
        return found[0]

    async def _hello(self, connection: socket.socket) -> bytes:
        hello = b""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience.opening_s):
                while len(hello) < _HELLO:
                    more = await loop.sock_recv(connection, _HELLO - len(hello))
                    hello += more
                    if not more or not _PATH.startswith(hello[:4]):
                        raise PeerProtocolError(peer="a path", reason="its hello is none")
        except TimeoutError:
            raise SlowPeerError(peer="a path", reason="its hello did not end in time") from None
        return hello


Serving = Coroutine[None, None, None]
Serve = Callable[[socket.socket, str], Serving]


def _current() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - what is called by a coroutine has one
    return task


@contextlib.contextmanager
def _said(address: Address) -> Iterator[None]:
    """Have an error name the address."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(address)) from None


def _shown_peer(connection: socket.socket) -> str:
    try:
        return _shown(connection.getpeername())
    except OSError:
        return "somebody"


def _shown(name: object) -> str:
    if not isinstance(name, tuple):
        return "a local process"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
