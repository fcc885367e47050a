"""A machine of another kind takes part: nothing of what it says was made by this program.

The whole of it is real at one side: ``datamover serve``, its conversation, its tasks, its files.
The other side knows the specifications alone, keeps its numbers in the other byte order, and packs
what it says otherwise than this program does.  Docs: link-protocol.md, control-protocol.md.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from contextlib import ExitStack
from hashlib import sha256
from random import Random

import pytest

from datamover.testing.other_client import OtherClient
from datamover.testing.other_peer import OtherPeer

pytestmark = [pytest.mark.processes, pytest.mark.slow]

DATA, ACK, END, DONE, PING = 1, 2, 3, 4, 5
PIPE_ENDED = 20
PROTECTIONS = {"clear": 0, "sealed": 1}
SIZE = 65536
PIPE = "other-1@elsewhere"
DEADLINE_S = 60


class Served:
    """``datamover serve`` as a remote shell starts it, and sockets that lead there."""

    def __init__(self, runtime, stack):
        self._environment = {**os.environ, "DATAMOVER_RUNTIME": str(runtime)}
        self._stack = stack
        runtime.mkdir(mode=0o700)
        self.client = OtherClient(self.start("--stdio"))
        self.token, self.secret = os.urandom(16), os.urandom(32)

    def start(self, way):
        """Return a socket that is standard input and output there."""
        ours, theirs = socket.socketpair()
        ours.settimeout(DEADLINE_S)
        words = [sys.executable, "-m", "datamover", "serve", way]
        with theirs:
            program = subprocess.Popen(words, stdin=theirs, stdout=theirs, env=self._environment)
        self._stack.callback(program.wait, DEADLINE_S)
        self._stack.callback(ours.close)
        return ours

    def border(self, use, protection):
        """A network stage there, whose border this side knows."""
        settings = {
            "token": self.token.hex(),
            "secret": self.secret.hex(),
            "protection": protection,
            "paths": 2,
        }
        return {"use": use, "settings": settings}

    def paths(self, protection, *, sends):
        """Dial both paths, each through a program of its own."""
        found = []
        for path in range(2):
            peer = OtherPeer(
                self.token,
                self.secret,
                sends=sends,
                protection=PROTECTIONS[protection],
                path=path,
                buffer_size=SIZE,
            )
            peer.begin(self.start("--path"))
            found.append(peer)
        return found


@pytest.fixture
def served(tmp_path):
    with ExitStack() as stack:
        yield Served(tmp_path / "run", stack)


@pytest.fixture
def data():
    return Random(6).randbytes(30 * SIZE + 12_345)


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_what_another_kind_of_machine_sends_is_written_here(served, tmp_path, data, protection):
    welcome = served.client.greet()
    stages = [
        served.border("net_receive", protection),
        {"use": "write", "settings": {"path": str(tmp_path / "out")}},
    ]
    served.client.extend(PIPE, stages, buffers=8, size=SIZE)
    send(served.paths(protection, sends=True), data)
    ended = served.client.until(PIPE_ENDED)

    assert welcome["version"] == 1
    assert (ended["pipe"], ended["part"], ended["how"]) == (PIPE, 1, "finished")
    assert ended["results"]["write"] == [{"bytes": len(data)}]
    assert digest((tmp_path / "out").read_bytes()) == digest(data)


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_what_is_read_here_arrives_at_another_kind_of_machine(served, tmp_path, data, protection):
    (tmp_path / "in").write_bytes(data)
    served.client.greet()
    stages = [
        {"use": "read", "settings": {"path": str(tmp_path / "in")}},
        served.border("net_send", protection),
    ]
    served.client.extend(PIPE, stages, buffers=8, size=SIZE)
    arrived = receive(served.paths(protection, sends=False))
    ended = served.client.until(PIPE_ENDED)

    assert ended["how"] == "finished"
    assert ended["results"]["read"] == [{"bytes": len(data)}]
    assert digest(arrived) == digest(data)


def test_a_failure_here_is_told_to_another_kind_of_machine(served, tmp_path):
    served.client.greet()
    stages = [
        {"use": "read", "settings": {"path": str(tmp_path / "in")}},
        served.border("net_send", "clear"),
    ]
    (tmp_path / "in").write_bytes(b"x")
    served.client.extend(PIPE, stages, buffers=8, size=SIZE)
    (peer, _) = served.paths("clear", sends=False)
    # A frame that the receiver may not send, in good order.
    peer.send(END, sequence=1)
    peer.wait_for_the_end()
    served.client.say(18, request=9, pipe=PIPE, reason="enough")
    ended = served.client.until(PIPE_ENDED)

    assert ended["how"] == "stopped"


def send(peers, data):
    """Send everything as a sender does: within the credit, on both paths in turn."""
    blocks = [data[at : at + SIZE] for at in range(0, len(data), SIZE)]
    credit = 0
    for sequence, block in enumerate(blocks):
        while sequence >= credit:
            credit = max(credit, *(heard_credit(peer) for peer in peers))
        peers[sequence % 2].send(DATA, sequence=sequence, payload=block, stamp=sequence)
    for peer in peers:
        peer.send(END, sequence=len(blocks))
    hear_until_done(peers[0])
    finish(peers)


def heard_credit(peer):
    """The credit of the next acknowledgement; both paths are told of every change of it."""
    frame = peer.hear()
    assert frame["kind"] == ACK, frame
    return frame["sequence"]


def hear_until_done(peer):
    while peer.hear()["kind"] != DONE:
        continue


def receive(peers):
    """Take everything as a receiver does; grant one buffer at a time."""
    found, ends, counts = {}, set(), [0, 0]
    acknowledge(peers, counts, 0)
    while ends != {len(found)}:
        for at in ready(peers):
            frame = peers[at].hear()
            assert frame["kind"] in {DATA, END, PING}
            if frame["kind"] == DATA:
                assert frame["sequence"] == len(found), "more than was granted"
                found[frame["sequence"]] = frame["payload"]
                counts[at] += 1
            elif frame["kind"] == END:
                ends.add(frame["sequence"])
            acknowledge(peers, counts, frame["stamp"])
    finish(peers)
    return b"".join(found[number] for number in range(len(found)))


def acknowledge(peers, counts, stamp):
    for peer, count in zip(peers, counts, strict=True):
        peer.send(ACK, sequence=sum(counts) + 1, received=count, stamp=stamp)


def finish(peers):
    """Say the last word on every path, and wait until the other side has heard it."""
    for peer in peers:
        peer.send(DONE)
    for peer in peers:
        peer.wait_for_the_end()


def ready(peers):
    """Which paths something has come on."""
    numbers = {peer.connection.fileno(): at for at, peer in enumerate(peers)}
    found, _, _ = select.select(list(numbers), [], [], DEADLINE_S)
    assert found, "nothing comes"
    return [numbers[one] for one in found]


def digest(data):
    return sha256(data).hexdigest()
