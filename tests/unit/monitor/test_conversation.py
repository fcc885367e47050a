"""A conversation as its server: what is asked is done in its turn, and silence has an end.

The client is a socket that the test speaks for; the loop, the monitor and the threads are real.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from datamover.errors import UsageError
from datamover.monitor.patience import Patience
from datamover.monitor.permit import Who
from datamover.monitor.serve import Hub, converse
from datamover.monitor.supervisor import Monitor
from datamover.wire.control import HEADER, ControlReader, encode
from datamover.wire.crc import crc32c
from datamover.wire.message import (
    Answer,
    Call,
    Done,
    Hello,
    Identify,
    InitiatePipe,
    Message,
    Part,
    Ping,
    Pong,
    Refused,
    Welcome,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

HELLO = Hello(release="0", machine="m", pid=1, versions=(1, 1))
BOUND_S = 10.0


class Client:
    """The other side, in the hands of a test."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = ControlReader()
        self._reader.open()
        self._heard: list[Message] = []

    async def say(self, *messages: Message | bytes) -> None:
        data = b"".join(one if isinstance(one, bytes) else encode(one) for one in messages)
        await asyncio.get_running_loop().sock_sendall(self._connection, data)

    async def hear(self) -> Message | None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(BOUND_S):
            while not self._heard:
                try:
                    data = await loop.sock_recv(self._connection, 65536)
                except ConnectionResetError:
                    return None
                if not data:
                    return None
                self._reader.feed(data)
                self._heard += self._reader.messages()
        return self._heard.pop(0)

    def end(self) -> None:
        self._connection.shutdown(socket.SHUT_WR)


class Methods:
    """A service with everything that a method can do."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.goes_on = threading.Event()
        self.threads: set[int] = set()
        self.sent = 0

    def methods(self) -> dict[str, Callable[[Mapping[str, object]], object]]:
        return {
            "echo": self._echo,
            "count": self._count,
            "refuse": self._refuse,
            "break": self._break,
            "wait": self._wait,
            "flood": self._flood,
            "too much": lambda _: {"x": bytes(2 << 20)},
        }

    def close(self) -> None:
        self.closed.set()

    def _echo(self, given: Mapping[str, object]) -> Mapping[str, object]:
        self.threads.add(threading.get_ident())
        return given

    def _count(self, given: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
        return ({"n": number} for number in range(int(str(given["to"]))))

    def _refuse(self, _: Mapping[str, object]) -> Mapping[str, object]:
        raise UsageError(reason="not today")

    def _break(self, _: Mapping[str, object]) -> Mapping[str, object]:
        raise ZeroDivisionError("oops")

    def _wait(self, _: Mapping[str, object]) -> Mapping[str, object]:
        assert self.goes_on.wait(BOUND_S)
        return {"waited": True}

    def _flood(self, _: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
        while True:
            self.sent += 1
            yield {"x": bytes(500_000)}


def talk(
    body: Callable[[Client], Awaitable[None]],
    service: Methods | None = None,
    *,
    ends: bool = True,
    **patience: float,
) -> str:
    """Run a conversation with a client; return why it ended."""

    async def run(monitor: Monitor) -> str:
        near, far = socket.socketpair()
        for end in (near, far):
            end.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=near)
        with far, Hub(monitor) as hub:
            serving = asyncio.ensure_future(
                converse(
                    reader,
                    writer,
                    hub=hub,
                    who=Who(name="test"),
                    service=service,
                    patience=Patience(**patience),
                )
            )
            client = Client(far)
            await body(client)
            if ends:
                client.end()
            async with asyncio.timeout(BOUND_S):
                return await serving

    with Monitor() as monitor:
        return asyncio.run(run(monitor))


async def greet(client: Client) -> Welcome:
    await client.say(HELLO)
    found = await client.hear()
    assert isinstance(found, Welcome)
    return found


def test_a_conversation_begins_ends_and_says_what_it_serves() -> None:
    async def body(client: Client) -> None:
        welcome = await greet(client)
        assert welcome.serves == sorted(Methods().methods())
        await client.say(Ping(request=5))
        assert await client.hear() == Pong(request=5)

    service = Methods()
    assert talk(body, service) == "the client ended it"
    assert service.closed.is_set()


def test_methods_are_called_in_turn_from_one_thread() -> None:
    async def body(client: Client) -> None:
        await greet(client)
        await client.say(
            *(Call(request=n, method="echo", given={"n": n, "b": b"\xff"}) for n in range(1, 9))
        )
        for number in range(1, 9):
            values = {"n": number, "b": b"\xff"}
            assert await client.hear() == Answer(request=number, values=values)

    service = Methods()
    talk(body, service)
    assert len(service.threads) == 1
    assert threading.get_ident() not in service.threads
    assert service.closed.wait(BOUND_S)


def test_many_answers_come_as_parts_and_then_the_last() -> None:
    async def body(client: Client) -> None:
        await greet(client)
        await client.say(Call(request=3, method="count", given={"to": 3}))
        heard = [await client.hear() for _ in range(4)]
        assert heard == [
            *(Part(request=3, values={"n": number}) for number in range(3)),
            Answer(request=3),
        ]

    talk(body, Methods())


@pytest.mark.parametrize(
    ("method", "code", "reason"),
    [
        ("refuse", "usage", "not today"),
        ("break", "usage", "method break failed: ZeroDivisionError: oops"),
        ("nonesuch", "usage", "no method 'nonesuch' is served here"),
        ("too much", "format.malformed", "fit"),
    ],
)
def test_what_does_not_work_is_refused_and_the_next_call_works(
    method: str, code: str, reason: str
) -> None:
    async def body(client: Client) -> None:
        await greet(client)
        await client.say(Call(request=1, method=method), Call(request=2, method="echo"))
        refused = await client.hear()
        assert isinstance(refused, Refused)
        assert (refused.request, refused.code) == (1, code)
        assert reason in refused.reason
        assert await client.hear() == Answer(request=2)

    talk(body, Methods())


def test_a_slow_method_holds_up_no_ping() -> None:
    service = Methods()

    async def body(client: Client) -> None:
        await greet(client)
        await client.say(Call(request=1, method="wait"), Ping(request=2))
        assert await client.hear() == Pong(request=2)
        service.goes_on.set()
        assert await client.hear() == Answer(request=1, values={"waited": True})

    talk(body, service)


def test_calls_that_pile_up_are_refused() -> None:
    service = Methods()

    async def body(client: Client) -> None:
        await greet(client)
        await client.say(*(Call(request=n, method="wait") for n in range(1, 71)))
        refused = await client.hear()
        assert isinstance(refused, Refused)
        assert "64 calls wait" in refused.reason
        service.goes_on.set()

    talk(body, service)
    assert service.closed.wait(BOUND_S)


def test_parts_wait_for_the_reader_and_end_with_it() -> None:
    service = Methods()

    async def body(client: Client) -> None:
        await greet(client)
        await client.say(Call(request=1, method="flood"))
        assert isinstance(await client.hear(), Part)
        before = -1
        while service.sent != before:  # it stands still once the buffers are full
            before = service.sent
            await asyncio.sleep(0.1)
        assert service.sent < 20

    talk(body, service)
    assert service.closed.wait(BOUND_S)


def test_who_says_no_hello_is_not_waited_for() -> None:
    async def body(client: Client) -> None:
        assert await client.hear() is None

    begin = time.monotonic()
    assert talk(body, ends=False, opening_s=0.05) == "it said no Hello in time"
    assert time.monotonic() - begin < 5


def test_who_goes_silent_is_asked_and_then_gone() -> None:
    async def body(client: Client) -> None:
        await greet(client)
        assert isinstance(await client.hear(), Ping)
        assert await client.hear() is None

    ended = talk(body, ends=False, quiet_s=0.05, answer_s=0.05)
    assert ended.startswith("it has been silent for")


def test_who_answers_pings_may_be_silent_otherwise() -> None:
    async def body(client: Client) -> None:
        await greet(client)
        for _ in range(3):
            ping = await client.hear()
            assert isinstance(ping, Ping)
            await client.say(Pong(request=ping.request))

    assert talk(body, quiet_s=0.02, answer_s=5) == "the client ended it"


def test_a_message_that_does_not_end_is_the_end() -> None:
    async def body(client: Client) -> None:
        await greet(client)
        await client.say(encode(Call(request=1, method="echo"))[:-1])
        assert await client.hear() is None

    assert talk(body, ends=False, message_s=0.05) == "what it began to say did not end"


def test_what_a_later_release_asks_is_refused_and_what_it_tells_is_ignored() -> None:
    def later(body: bytes) -> bytes:
        head = HEADER.pack(b"DMCM", 1, 0, 99, len(body), 0)[:-4]
        return head + crc32c(head + body).to_bytes(4, "little") + body

    async def body(client: Client) -> None:
        await greet(client)
        await client.say(later(b"\x80"), Done(request=4), later(b"\x81\xa7request\x07"))
        refused = await client.hear()
        assert isinstance(refused, Refused)
        assert (refused.request, refused.code) == (7, "peer.unknown-message")

    talk(body)


@pytest.mark.parametrize(
    "asked",
    [
        Identify(request=8, pipe="p", place="head", token=bytes(16), pid=1),
        InitiatePipe(request=8, name="p", stages=[{"module": "read"}, {"module": "discard"}]),
        Call(request=8, method="job.start", given={"kind": "copy", "given": {}}),
        Call(request=8, method="job.list"),
    ],
)
def test_what_the_user_of_a_machine_may_ask_its_daemon_nobody_else_may(asked: Message) -> None:
    """Members, remote shells and commands have neither initiator nor jobs behind them."""

    async def body(client: Client) -> None:
        await greet(client)
        await client.say(asked)
        refused = await client.hear()
        assert isinstance(refused, Refused)
        assert (refused.request, refused.code) == (8, "security.not-allowed")

    talk(body)


def test_another_first_word_than_hello_is_the_end() -> None:
    async def body(client: Client) -> None:
        await client.say(Ping(request=1))
        assert await client.hear() is None

    assert talk(body, ends=False) == "Ping where a Hello was due"


def test_who_takes_nothing_in_is_let_go() -> None:
    async def body(client: Client) -> None:
        await greet(client)
        # Each is refused in a few hundred bytes that nobody reads.
        wave = encode(Call(request=1, method="nonesuch")) * 1000
        with suppress(OSError):
            for _ in range(1000):
                await client.say(wave)

    assert talk(body, Methods(), ends=False) == "it takes nothing in"
