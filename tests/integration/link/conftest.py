"""A fleet on loopback: real files, real sockets, real TLS."""

import asyncio
import logging
import socket
import threading
from contextlib import contextmanager, suppress

import pytest

from datamover.errors import DataMoverError
from datamover.link.acceptance import accept_secure
from datamover.link.address import Address
from datamover.link.authority import Authority
from datamover.link.enrolment_server import serve_enrolment
from datamover.link.founding import found
from datamover.link.join import join
from datamover.link.tls import FLEET


class Listener:
    """What a daemon does at its port, in a thread: members get their name told, others enrol."""

    def __init__(self, configuration, *, handshake_s=5.0, exchange_s=10.0):
        self._configuration = configuration
        self._handshake_s = handshake_s
        self._exchange_s = exchange_s
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.address = Address("127.0.0.1", self._socket.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._tasks = set()
        self._failures = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(20)
        self._socket.close()
        assert self._failures == []

    def _run(self):
        self._accepting = self._loop.create_task(self._accept())
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._accepting)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _stop(self):
        self._accepting.cancel()

    async def _accept(self):
        try:
            while True:
                connection, _ = await self._loop.sock_accept(self._socket)
                connection.setblocking(False)
                task = self._loop.create_task(self._serve(connection))
                self._tasks.add(task)
                task.add_done_callback(self._done)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task):
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            self._failures.append(task.exception())

    async def _serve(self, connection):
        try:
            accepted = await accept_secure(
                connection, self._configuration, handshake_s=self._handshake_s
            )
        except DataMoverError:
            return
        if accepted.protocol == FLEET:
            await serve_enrolment(accepted, self._configuration, exchange_s=self._exchange_s)
            return
        with suppress(OSError):
            accepted.writer.write(f"welcome {accepted.peer.name}".encode())
            await accepted.writer.drain()
            accepted.writer.close()
            await accepted.writer.wait_closed()


@pytest.fixture
def home(tmp_path):
    """The configuration folder of the authority's machine, named "home"."""
    found(tmp_path / "home", "home")
    return tmp_path / "home"


@pytest.fixture
def authority(home):
    return Authority.open(home)


@pytest.fixture
def listening(home):
    """Start a listener on the authority's machine."""

    @contextmanager
    def listening(configuration=home, **given):
        with Listener(configuration, **given) as listener:
            yield listener.address

    return listening


@pytest.fixture
def member(authority, listening, tmp_path):
    """Make another machine a member, over the wire, and return its configuration folder."""

    def member(name):
        with listening() as address:
            join(authority.invite(), tmp_path / name, name=name, addresses=[address])
        return tmp_path / name

    return member


@pytest.fixture
def log(caplog):
    """The lines that were logged."""
    caplog.set_level(logging.INFO, logger="datamover.link")

    def lines():
        return [record.getMessage() for record in caplog.records]

    return lines


@pytest.fixture
def silent():
    """An address where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Address("127.0.0.1", server.getsockname()[1])


@pytest.fixture
def unused():
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Address("127.0.0.1", bound.getsockname()[1])
