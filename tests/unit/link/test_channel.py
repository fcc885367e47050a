"""A connection within this machine lets little wait; one to another address is the system's."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from datamover.link.channel import keep_near

NEAR = 256 << 10


def connected(stack: ExitStack, here: str, there: str) -> list[socket.socket]:
    """Return both ends of a connection from one address to another."""
    listener = stack.enter_context(socket.create_server((there, 0)))
    dialed = stack.enter_context(
        socket.create_connection(listener.getsockname(), source_address=(here, 0))
    )
    return [dialed, stack.enter_context(listener.accept()[0])]


def holds(connection: socket.socket) -> int:
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def test_within_a_machine_both_ends_hold_little() -> None:
    with ExitStack() as stack:
        for end in connected(stack, "127.0.0.1", "127.0.0.1"):
            before = holds(end)
            keep_near(end.fileno())

            # The system doubles what it is told, and may have a smaller bound of its own.
            assert holds(end) <= 2 * NEAR
            assert holds(end) != before


def test_another_address_is_left_to_the_system() -> None:
    with ExitStack() as stack:
        for end in connected(stack, "127.0.0.1", "127.0.0.2"):
            before = holds(end)
            keep_near(end.fileno())

            assert holds(end) == before


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_what_is_no_network_connection_is_left_alone(kind: socket.SocketKind) -> None:
    for end in socket.socketpair(socket.AF_UNIX, kind):
        with end:
            before = holds(end)
            keep_near(end.fileno())

            assert holds(end) == before
