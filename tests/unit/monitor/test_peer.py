"""A peer: asked and answered over a real socket, and its silence has an end.

The other side is a socket that the test speaks for.
"""

import socket
import threading
import time

import pytest

from datamover.errors import (
    PeerLostError,
    PeerProtocolError,
    PeerRefusedError,
    PeerUnreachableError,
)
from datamover.monitor.channel import SocketChannel
from datamover.monitor.patience import Patience
from datamover.monitor.peer import Peer
from datamover.monitor.supervisor import Monitor
from datamover.wire.control import ControlReader, encode
from datamover.wire.message import (
    Answer,
    AskStatus,
    Call,
    Done,
    Hello,
    Message,
    Part,
    Ping,
    PipeNotice,
    Pong,
    Refused,
    Status,
    StopPipe,
    Welcome,
)

WELCOME = Welcome(release="0", machine="far", pid=1, version=1, serves=[], session="s")
NOTICE = PipeNotice(pipe="p", part=0, stage="read", instance=0, kind="note", given={})


class Other:
    """The other side, in the hands of a test."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._reader = ControlReader()
        self._reader.open()
        self._heard: list[Message] = []

    def say(self, *messages: Message) -> None:
        self.connection.sendall(b"".join(map(encode, messages)))

    def hear(self) -> Message:
        self.connection.settimeout(5)
        while not self._heard:
            data = self.connection.recv(65536)
            assert data, "the peer has closed the connection"
            self._reader.feed(data)
            self._heard += self._reader.messages()
        return self._heard.pop(0)


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with far:
        yield near, Other(far)
        near.close()


def greeted(near: socket.socket, other: Other, **more: float) -> Peer:
    other.say(WELCOME)
    peer = Peer(SocketChannel(near), name="far", patience=Patience(**more))
    peer.greet(timeout=5)
    assert isinstance(other.hear(), Hello)
    return peer


def answering(other: Other, *answers: Message) -> threading.Thread:
    """Hear one message, then say these with its number."""

    def body() -> None:
        import msgspec

        number = other.hear().request
        for answer in answers:
            named = isinstance(answer, PipeNotice) or "request" not in answer.__struct_fields__
            other.say(answer if named else msgspec.structs.replace(answer, request=number))

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def test_an_answer_is_returned_and_what_came_before_it_is_kept(pair) -> None:
    near, other = pair
    with greeted(near, other) as peer:
        thread = answering(other, NOTICE, Done(request=0))
        peer.ask(StopPipe(request=0, pipe="p"), kind=Done, timeout=5)
        thread.join()

        assert peer.receive() == [NOTICE]
        assert peer.receive() == []


def test_parts_come_one_by_one(pair) -> None:
    near, other = pair
    with greeted(near, other) as peer:
        thread = answering(
            other,
            Part(request=0, values={"n": 1}),
            Part(request=0, values={"n": b"\xff"}),
            Answer(request=0, values={"all": 2}),
        )
        found = list(peer.stream("list", {"path": "/x"}, timeout=5))
        thread.join()

    assert found == [{"n": 1}, {"n": b"\xff"}, {"all": 2}]


def test_a_name_of_any_bytes_is_sent_as_bytes(pair) -> None:
    near, other = pair
    with greeted(near, other) as peer:
        peer.send(Call(request=1, method="list", given={"path": "/\udcff"}))

        assert other.hear() == Call(request=1, method="list", given={"path": b"/\xff"})


def test_a_refusal_carries_the_cause(pair) -> None:
    near, other = pair
    with greeted(near, other) as peer:
        answering(
            other, Refused(request=0, code="pipe.missing", reason="none", hint="look", status=66)
        ).join(0)
        with pytest.raises(PeerRefusedError, match="far: none") as caught:
            peer.call("x", {}, timeout=5)
        assert (caught.value.cause_code, caught.value.cause_status) == ("pipe.missing", 66)
        assert caught.value.cause_hint == "look"
        assert not peer.is_lost  # it goes on


def test_an_answer_of_another_kind_ends_it(pair) -> None:
    near, other = pair
    with greeted(near, other) as peer:
        thread = answering(other, Done(request=0))
        with pytest.raises(PeerProtocolError, match="Done where Status was due"):
            peer.ask(AskStatus(request=0), kind=Status, timeout=5)
        thread.join()
        assert peer.is_lost
        with pytest.raises(PeerProtocolError):
            peer.send(Ping(request=1))


def test_what_came_before_the_end_is_heard_before_it(pair) -> None:
    near, other = pair
    with greeted(near, other) as peer:
        other.say(NOTICE, NOTICE)
        other.connection.close()

        assert peer.receive() == [NOTICE, NOTICE]
        with pytest.raises(PeerLostError, match="ended the conversation"):
            peer.receive()


def test_garbage_ends_it(pair) -> None:
    near, other = pair
    with greeted(near, other) as peer:
        other.connection.sendall(b"Last login: yesterday\n")
        with pytest.raises(PeerProtocolError, match="begins with"):
            peer.receive()


@pytest.mark.parametrize(
    ("said", "error", "text"),
    [
        (b"", PeerUnreachableError, "it ended the conversation"),
        (b"Welcome to this machine\n", PeerProtocolError, "begins with"),
        (encode(Refused(request=0, code="x", reason="go away")), PeerRefusedError, "go away"),
        (encode(Done(request=1)), PeerProtocolError, "Done where a welcome was due"),
    ],
)
def test_who_does_not_welcome_is_no_peer(pair, said: bytes, error: type, text: str) -> None:
    near, other = pair
    other.connection.sendall(said)
    other.connection.shutdown(socket.SHUT_WR)
    with Peer(SocketChannel(near), name="far") as peer, pytest.raises(error, match=text):
        peer.greet(timeout=5)


def test_who_says_nothing_at_all_is_not_waited_for(pair) -> None:
    near, _ = pair
    with (
        Peer(SocketChannel(near), name="far") as peer,
        pytest.raises(PeerUnreachableError, match="did not answer"),
    ):
        peer.greet(timeout=0.05)


def test_silence_is_asked_about_and_then_is_the_end(pair) -> None:
    near, other = pair
    with greeted(near, other, quiet_s=0.05, answer_s=0.1) as peer:
        with pytest.raises(PeerLostError, match="silent"):
            peer.call("x", {})
        assert isinstance(other.hear(), Call)
        assert isinstance(other.hear(), Ping)


def test_who_answers_pings_is_waited_for(pair) -> None:
    near, other = pair
    with greeted(near, other, quiet_s=0.02, answer_s=5) as peer:

        def body() -> None:
            call = other.hear()
            for _ in range(3):
                other.say(Pong(request=other.hear().request))
            other.say(Answer(request=call.request, values={"late": True}))

        thread = threading.Thread(target=body)
        thread.start()
        assert peer.call("x", {}) == {"late": True}
        thread.join()


def test_a_peer_that_was_not_looked_at_for_long_is_not_blamed_for_it(pair) -> None:
    near, other = pair
    with greeted(near, other, quiet_s=0.01, answer_s=0.01) as peer:
        other.say(NOTICE)
        deadline = time.monotonic() + 0.05
        while time.monotonic() < deadline:
            pass  # busy with something else

        peer.tend()
        assert peer.receive() == [NOTICE]


def test_a_message_that_does_not_end_is_the_end(pair) -> None:
    near, other = pair
    with greeted(near, other, message_s=0.05) as peer:
        other.connection.sendall(encode(NOTICE)[:-1])
        with pytest.raises(PeerLostError, match="did not end"):
            peer.call("x", {}, timeout=5)


def test_a_ping_is_answered(pair) -> None:
    near, other = pair
    with greeted(near, other) as peer:
        other.say(Ping(request=9))
        assert peer.receive() == []
        assert other.hear() == Pong(request=9)


def test_who_takes_nothing_in_is_lost(pair) -> None:
    near, other = pair
    call = Call(request=1, method="x", given={"x": bytes(900_000)})
    with greeted(near, other) as peer:
        with pytest.raises(PeerLostError, match="takes nothing in"):
            any(peer.send(call) for _ in range(100))
        assert peer.is_lost


def test_what_the_kernel_does_not_take_is_sent_later(pair) -> None:
    near, other = pair
    with greeted(near, other) as peer, Monitor() as monitor:
        peer.watch(monitor, on_message=lambda _: None, on_lost=lambda _: None)
        for number in range(1, 6):
            peer.send(Call(request=number, method="x", given={"x": bytes(900_000)}))
        heard: list[Message] = []
        thread = threading.Thread(
            target=lambda: heard.extend(other.hear() for _ in range(5)), daemon=True
        )
        thread.start()
        deadline = time.monotonic() + 10
        while thread.is_alive() and time.monotonic() < deadline:
            monitor.step(0.01)

        assert [one.request for one in heard] == [1, 2, 3, 4, 5]


def test_a_monitor_serves_what_it_watches(pair) -> None:
    near, other = pair
    said: list[Message] = []
    lost: list[Exception] = []
    with greeted(near, other) as peer, Monitor() as monitor:
        other.say(NOTICE)
        peer.watch(monitor, on_message=said.append, on_lost=lost.append)
        monitor.step(5)
        assert said == [NOTICE]

        thread = answering(other, NOTICE, Done(request=0))
        peer.ask(StopPipe(request=0, pipe="p"), kind=Done, timeout=5)
        thread.join()
        assert said == [NOTICE, NOTICE]

        other.connection.close()
        deadline = time.monotonic() + 5
        while not lost and time.monotonic() < deadline:
            monitor.step(0.5)
        monitor.step(0)
        assert [type(error) for error in lost] == [PeerLostError]


def test_a_watched_peer_that_is_silent_is_lost_in_the_steps(pair) -> None:
    near, other = pair
    lost: list[Exception] = []
    with greeted(near, other, quiet_s=0.02, answer_s=0.02) as peer, Monitor() as monitor:
        peer.watch(monitor, on_message=lambda _: None, on_lost=lost.append)
        deadline = time.monotonic() + 5
        while not lost and time.monotonic() < deadline:
            monitor.step(5)  # it must wake up by itself

        assert time.monotonic() < deadline - 4
        assert isinstance(other.hear(), Ping)


def test_closing_is_no_loss(pair) -> None:
    near, other = pair
    lost: list[Exception] = []
    with Monitor() as monitor:
        peer = greeted(near, other)
        peer.watch(monitor, on_message=lambda _: None, on_lost=lost.append)
        peer.close()
        peer.close()
        monitor.step(0)

        assert not lost
        assert peer.fileno() == -1
        with pytest.raises(PeerLostError, match="closed here"):
            peer.receive()
