"""The line does what its settings say, with real sockets, and can be stopped, cut and mended."""

import os
import select
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress

import pytest

from datamover.testing.delay import DelayProxy

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@contextmanager
def server(serve):
    """Run ``serve`` with each connection, in threads."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=one, args=(connection,))
            threads.append(thread)
            thread.start()

    def one(connection):
        with closing(connection):
            connection.settimeout(20)
            with suppress(OSError):
                serve(connection)

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (acceptor, *threads):
            thread.join(20)


def echo(connection):
    while got := connection.recv(1 << 18):
        connection.sendall(got)
    connection.shutdown(socket.SHUT_WR)


def count(connection):
    """Answer the end with how many bytes there were."""
    room, total = bytearray(1 << 20), 0
    while got := connection.recv_into(room):
        total += got
    connection.sendall(b"%d" % total)


@contextmanager
def line(serve, **settings):
    with server(serve) as port, DelayProxy("127.0.0.1", port, **settings) as proxy:
        yield proxy


@contextmanager
def connected(proxy):
    with closing(socket.create_connection((proxy.address, proxy.port), timeout=20)) as connection:
        yield connection


def push(proxy, size):
    """Send so many bytes; return the seconds until the far end has told that it has them."""
    with connected(proxy) as connection:
        block, start = bytes(1 << 18), time.monotonic()
        for _ in range(size >> 18):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)

        assert int(connection.recv(100)) == size >> 18 << 18
        return time.monotonic() - start


def round_trip(connection, word=b"x"):
    start = time.monotonic()
    connection.sendall(word)
    assert connection.recv(100) == word
    return time.monotonic() - start


def test_a_round_trip_takes_both_delays():
    with line(echo, delay_ms=25) as proxy, connected(proxy) as connection:
        round_trip(connection)
        # A line is never too fast; how late it is besides is a matter of who else computes.
        assert 0.05 <= min(round_trip(connection) for _ in range(10)) < 0.5


def test_without_a_delay_it_is_no_bottleneck():
    size = 400 << 20
    with line(count) as proxy:
        assert size / min(push(proxy, size) for _ in range(3)) > 200e6


def test_a_rate_is_kept_by_all_connections_together():
    size = 5 << 20
    with line(count, mbit=160, delay_ms=10) as proxy:
        threads = [threading.Thread(target=push, args=(proxy, size)) for _ in range(4)]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - start

        assert 4 * size / seconds == pytest.approx(20e6, rel=0.1)


def test_a_window_makes_a_long_line_slow_for_one_connection():
    with line(count, delay_ms=25, window=1 << 20) as proxy:
        size = 8 << 20
        # A window a round trip: 1 MiB each 50 ms; less where others use the processor too.
        rate = max(size / push(proxy, size) for _ in range(3)) / ((1 << 20) / 0.05)
        assert 0.6 < rate < 1.1


def test_bytes_come_in_order_both_ways_at_once():
    sent = os.urandom(8 << 20)
    with line(echo, delay_ms=5, loss=0.02, stall_ms=20, seed=3) as proxy:
        got = bytearray()
        with connected(proxy) as connection:

            def receive():
                while part := connection.recv(1 << 16):
                    got.extend(part)

            receiver = threading.Thread(target=receive)
            receiver.start()
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            receiver.join(30)

        assert bytes(got) == sent
        assert proxy.statistics().lost > 0


def test_what_a_sender_got_rid_of_is_on_the_line():
    with line(count, delay_ms=25, window=1 << 20) as proxy, connected(proxy) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        proxy.pause()
        connection.settimeout(0.3)
        sent = 0
        with suppress(TimeoutError):
            while sent < 64 << 20:
                sent += connection.send(bytes(1 << 16))

        assert sent < 3 << 20
        proxy.resume()


def test_memory_is_bounded_by_rate_and_delay():
    with line(count, mbit=400, delay_ms=50) as proxy:
        push(proxy, 20 << 20)

        # What is under way at that rate and delay, and on a busy machine some more.
        assert 2e6 < proxy.statistics().held_max < 50e6 * 0.2


def test_a_paused_line_carries_nothing_and_loses_nothing():
    with line(echo) as proxy, connected(proxy) as connection:
        round_trip(connection)
        proxy.pause()
        connection.sendall(b"waits")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        proxy.resume()
        connection.settimeout(20)

        assert connection.recv(100) == b"waits"


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_cut_ends_connections_and_refuses_new_ones_until_it_is_mended(how):
    with line(echo) as proxy, connected(proxy) as connection:
        round_trip(connection)
        port = proxy.port
        proxy.cut(how)
        if how == "rst":
            with pytest.raises(ConnectionResetError):
                connection.recv(100)
        else:
            assert connection.recv(100) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((proxy.address, port), timeout=5)
        proxy.resume()
        with connected(proxy) as again:
            round_trip(again, b"back")

        assert proxy.port == port
        assert proxy.statistics().opened == 2


def test_a_line_to_nobody_resets_who_connects():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    nobody = DelayProxy("127.0.0.1", port)
    with nobody as proxy, pytest.raises(ConnectionResetError), connected(proxy) as connection:
        connection.recv(1)


def test_a_line_can_be_made_longer_while_it_is_used():
    with line(echo) as proxy, connected(proxy) as connection:
        assert round_trip(connection) < 0.04
        proxy.change(delay_ms=40)

        assert round_trip(connection) >= 0.08


OWNER = """
import signal
from datamover.testing.delay import DelayProxy
with DelayProxy("127.0.0.1", 9) as proxy:
    print(proxy._process.pid, flush=True)
    signal.pause()
"""


def test_it_ends_by_itself_when_its_owner_is_killed():
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        handle = os.pidfd_open(int(owner.stdout.readline()))
        owner.kill()
    try:
        # A pidfd can be read from when its process has ended.
        assert select.select([handle], [], [], 10)[0]
    finally:
        os.close(handle)
